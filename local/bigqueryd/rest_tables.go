package bigqueryd

import (
	"context"
	"fmt"
	"net/http"
	"strconv"

	bq "google.golang.org/api/bigquery/v2"
)

func (s *Server) listProjects(*http.Request) (any, error) {
	return &bq.ProjectList{Kind: "bigquery#projectList", TotalItems: 1, Projects: []*bq.ProjectListProjects{{
		Id: s.project, FriendlyName: s.project, ProjectReference: &bq.ProjectReference{ProjectId: s.project},
	}}}, nil
}

func (s *Server) datasetResource(d *datasetEntry) *bq.Dataset {
	return &bq.Dataset{
		Kind: "bigquery#dataset", Id: s.project + ":" + d.ID, Description: d.Description, Labels: d.Labels, Location: location,
		DatasetReference: &bq.DatasetReference{ProjectId: s.project, DatasetId: d.ID},
		CreationTime:     d.Created, LastModifiedTime: d.Created, Etag: strconv.FormatInt(d.Created, 36),
	}
}

func (s *Server) listDatasets(*http.Request) (any, error) {
	out := &bq.DatasetList{Kind: "bigquery#datasetList"}
	for _, d := range s.catalog.listDatasets() {
		r := s.datasetResource(d)
		out.Datasets = append(out.Datasets, &bq.DatasetListDatasets{Id: r.Id, DatasetReference: r.DatasetReference, Labels: d.Labels, Location: location})
	}
	return out, nil
}

func (s *Server) insertDataset(r *http.Request) (any, error) {
	var body bq.Dataset
	if err := readBody(r, &body); err != nil {
		return nil, err
	}
	if body.DatasetReference == nil {
		return nil, fmt.Errorf("%w: datasetReference is missing", errInvalid)
	}
	d := &datasetEntry{ID: body.DatasetReference.DatasetId, Description: body.Description, Labels: body.Labels}
	if err := s.createDataset(r.Context(), d); err != nil {
		return nil, err
	}
	return s.datasetResource(d), nil
}

func (s *Server) getDataset(r *http.Request) (any, error) {
	d, err := s.catalog.dataset(r.PathValue("dataset"))
	if err != nil {
		return nil, err
	}
	return s.datasetResource(d), nil
}

func (s *Server) patchDataset(r *http.Request) (any, error) {
	var body struct {
		Description *string            `json:"description"`
		Labels      *map[string]string `json:"labels"`
	}
	if err := readBody(r, &body); err != nil {
		return nil, err
	}
	var d datasetEntry
	err := s.lane.do(r.Context(), func(ctx context.Context, c *connection) error {
		old, err := s.catalog.dataset(r.PathValue("dataset"))
		if err != nil {
			return err
		}
		d = *old
		if body.Description != nil {
			d.Description = *body.Description
		}
		if body.Labels != nil {
			d.Labels = *body.Labels
		}
		return d.save(ctx, c)
	}, func() { s.catalog.putDataset(&d) })
	if err != nil {
		return nil, err
	}
	return s.datasetResource(&d), nil
}

func (s *Server) deleteDataset(r *http.Request) (any, error) {
	return nil, s.dropDataset(r.Context(), r.PathValue("dataset"), r.URL.Query().Get("deleteContents") == "true")
}

// tableResource describes a table or view; rows are counted for a table only if
// count is set.
func (s *Server) tableResource(ctx context.Context, t *tableEntry, count bool) (*bq.Table, error) {
	out := &bq.Table{
		Kind: "bigquery#table", Id: s.project + ":" + t.Dataset + "." + t.ID, Type: "TABLE", Location: location,
		TableReference: s.tableReference(t), Schema: &bq.TableSchema{Fields: apiFields(t.fields)},
		Description: t.Description, Labels: t.Labels, TimePartitioning: t.Partition, Clustering: t.Clustering,
		CreationTime: t.Created, LastModifiedTime: uint64(t.Modified), Etag: fmt.Sprintf("%x-%x-%x", t.Generation, t.Version, t.Modified),
	}
	if t.isView() {
		out.Type = "VIEW"
		out.View = &bq.ViewDefinition{Query: t.View, ForceSendFields: []string{"UseLegacySql"}}
		return out, nil
	}
	if !count {
		return out, nil
	}
	err := s.db.read(ctx, func(c *connection) error {
		n, err := c.one(ctx, "SELECT count(*) FROM "+t.duckName())
		if rows, ok := n.(int64); ok {
			out.NumRows = uint64(rows)
		}
		return err
	})
	out.ForceSendFields = []string{"NumRows"}
	return out, err
}

func (s *Server) tableReference(t *tableEntry) *bq.TableReference {
	return &bq.TableReference{ProjectId: s.project, DatasetId: t.Dataset, TableId: t.ID}
}

func (s *Server) listTables(r *http.Request) (any, error) {
	dataset := r.PathValue("dataset")
	if _, err := s.catalog.dataset(dataset); err != nil {
		return nil, err
	}
	out := &bq.TableList{Kind: "bigquery#tableList"}
	for _, t := range s.catalog.listTables(dataset) {
		full, err := s.tableResource(r.Context(), t, false)
		if err != nil {
			return nil, err
		}
		out.Tables = append(out.Tables, &bq.TableListTables{
			Id: full.Id, TableReference: full.TableReference, Type: full.Type, Labels: t.Labels,
			TimePartitioning: t.Partition, Clustering: t.Clustering, CreationTime: t.Created,
		})
	}
	out.TotalItems = int64(len(out.Tables))
	return out, nil
}

func (s *Server) insertTable(r *http.Request) (any, error) {
	var body bq.Table
	if err := readBody(r, &body); err != nil {
		return nil, err
	}
	if body.TableReference == nil {
		return nil, fmt.Errorf("%w: tableReference is missing", errInvalid)
	}
	t := &tableEntry{
		Dataset: r.PathValue("dataset"), ID: body.TableReference.TableId, Description: body.Description, Labels: body.Labels,
		Partition: body.TimePartitioning, Clustering: body.Clustering,
	}
	var err error
	switch {
	case body.View != nil:
		t.View = body.View.Query
		err = s.createView(r.Context(), t, false)
	case body.Schema == nil:
		err = fmt.Errorf("%w: this stand-in makes no table without a schema", errInvalid)
	default:
		if t.fields, err = fieldsOfAPI(body.Schema.Fields); err != nil {
			err = fmt.Errorf("%w: %w", errInvalid, err)
			break
		}
		err = s.createTable(r.Context(), t, nil)
	}
	if err != nil {
		return nil, err
	}
	return s.tableResource(r.Context(), t, true)
}

func (s *Server) getTable(r *http.Request) (any, error) {
	t, err := s.catalog.table(r.PathValue("dataset"), r.PathValue("table"))
	if err != nil {
		return nil, err
	}
	return s.tableResource(r.Context(), t, true)
}

// patchTable changes what the body names: description, labels, the schema (which
// may only grow or relax), or a view's query.
func (s *Server) patchTable(r *http.Request) (any, error) {
	var body struct {
		Description *string            `json:"description"`
		Labels      *map[string]string `json:"labels"`
		Schema      *bq.TableSchema    `json:"schema"`
		View        *bq.ViewDefinition `json:"view"`
	}
	if err := readBody(r, &body); err != nil {
		return nil, err
	}
	dataset, id := r.PathValue("dataset"), r.PathValue("table")
	if body.View != nil {
		old, err := s.catalog.table(dataset, id)
		if err != nil {
			return nil, err
		}
		v := &tableEntry{Dataset: dataset, ID: id, View: body.View.Query, Description: old.Description, Labels: old.Labels}
		if err := s.createView(r.Context(), v, true); err != nil {
			return nil, err
		}
	} else if body.Schema != nil {
		fields, err := fieldsOfAPI(body.Schema.Fields)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errInvalid, err)
		}
		old, err := s.catalog.table(dataset, id)
		if err != nil {
			return nil, err
		}
		for _, f := range old.fields {
			if fieldIndex(fields, f.name) < 0 {
				return nil, fmt.Errorf("%w: Provided Schema does not match Table %s. Field %s is missing in new schema", errInvalid, id, f.name)
			}
		}
		if err := s.growTable(r.Context(), dataset, id, fields); err != nil {
			return nil, err
		}
	}
	if body.Description != nil || body.Labels != nil {
		err := s.updateTable(r.Context(), dataset, id, func(t *tableEntry) ([]string, error) {
			if body.Description != nil {
				t.Description = *body.Description
			}
			if body.Labels != nil {
				t.Labels = *body.Labels
			}
			return nil, nil
		})
		if err != nil {
			return nil, err
		}
	}
	return s.getTable(r)
}

func (s *Server) deleteTable(r *http.Request) (any, error) {
	return nil, s.dropTable(r.Context(), r.PathValue("dataset"), r.PathValue("table"))
}

// listTableData reads a table by position; DuckDB keeps the order of insertion.
func (s *Server) listTableData(r *http.Request) (any, error) {
	t, err := s.catalog.table(r.PathValue("dataset"), r.PathValue("table"))
	if err != nil {
		return nil, err
	}
	if t.isView() {
		return nil, fmt.Errorf("%w: Cannot list a table of type VIEW", errInvalid)
	}
	p, err := pageOf(r)
	if err != nil {
		return nil, err
	}
	size := p.size
	if size == 0 || size > defaultPage {
		size = defaultPage
	}
	var total int64
	data := &outcome{}
	err = s.db.read(r.Context(), func(c *connection) error {
		n, err := c.one(r.Context(), "SELECT count(*) FROM "+t.duckName())
		if err != nil {
			return err
		}
		total, _ = n.(int64)
		return data.read(r.Context(), c, fmt.Sprintf("SELECT %s FROM %s LIMIT %d OFFSET %d", nameList(t.fields), t.duckName(), size, p.start))
	})
	if err != nil {
		return nil, err
	}
	rows, next := page{size: size, int64Times: p.int64Times}.cut(data.rows)
	end := p.start + len(data.rows)
	if next != "" {
		n, err := strconv.Atoi(next)
		if err != nil {
			return nil, err
		}
		end = p.start + n
	}
	out := map[string]any{"kind": "bigquery#tableDataList", "totalRows": strconv.FormatInt(total, 10), "rows": rows}
	if int64(end) < total {
		out["pageToken"] = strconv.Itoa(end)
	}
	return out, nil
}
