package bigqueryd

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"pixelbeam/local/bigqueryd/googlesql"
)

// apiError is an error of the REST API.
type apiError struct {
	code    int
	reason  string
	message string
}

func (e *apiError) Error() string { return e.message }

// apiErrorOf gives any error the form that the API would.
func apiErrorOf(err error) *apiError {
	var e *apiError
	var syntax *googlesql.Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.As(err, &syntax):
		return &apiError{http.StatusBadRequest, "invalidQuery", syntax.Error()}
	case errors.Is(err, errNotFound):
		return &apiError{http.StatusNotFound, "notFound", err.Error()}
	case errors.Is(err, errDuplicate):
		return &apiError{http.StatusConflict, "duplicate", err.Error()}
	case errors.Is(err, errInvalid):
		return &apiError{http.StatusBadRequest, "invalid", err.Error()}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return &apiError{http.StatusBadRequest, "stopped", "Job execution was cancelled"}
	}
	if st, ok := status.FromError(err); ok {
		switch st.Code() {
		case codes.ResourceExhausted:
			return &apiError{http.StatusForbidden, "rateLimitExceeded", st.Message()}
		case codes.PermissionDenied:
			return &apiError{http.StatusForbidden, "accessDenied", st.Message()}
		case codes.Unavailable:
			return &apiError{http.StatusServiceUnavailable, "backendError", st.Message()}
		}
	}
	return &apiError{http.StatusInternalServerError, "internalError", err.Error()}
}

// queryError gives an error of DuckDB, which a translated statement got, the
// form that BigQuery's would have.
func queryError(err error) error {
	message := err.Error()
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case strings.HasPrefix(message, "Catalog Error: Table with name"), strings.HasPrefix(message, "Catalog Error: SCHEMA"):
		return &apiError{http.StatusNotFound, "notFound", "Not found: " + message}
	case strings.HasPrefix(message, "Out of Memory Error"):
		return &apiError{http.StatusBadRequest, "resourcesExceeded", "Resources exceeded during query execution: " + message}
	}
	return &apiError{http.StatusBadRequest, "invalidQuery", message}
}

// parameters are those of a query, as DuckDB expressions.
type parameters struct {
	named      map[string]googlesql.Value
	positional []googlesql.Value
}

// translate translates GoogleSQL.
func (s *Server) translate(sql, dataset string, params *parameters) (*googlesql.Statement, error) {
	opts := googlesql.Options{Dataset: dataset, Project: s.project, Tables: s.catalog.names, Information: s.informationSchema}
	if params != nil {
		opts.Named, opts.Positional = params.named, params.positional
	}
	return googlesql.Translate(sql, opts)
}

// translateView translates the query of a view of dataset. names are those that
// wildcard tables match.
func (s *Server) translateView(sql, dataset string, names func(dataset string) (tables, views []string)) (*googlesql.Statement, error) {
	return googlesql.Translate(sql, googlesql.Options{Dataset: dataset, View: true, Project: s.project, Tables: names, Information: s.informationSchema})
}

// outcome is what a statement returned.
type outcome struct {
	statement string // as in the API: SELECT, INSERT, CREATE_TABLE...
	fields    []field
	rows      [][]any
	size      int   // estimated memory of rows
	affected  int64 // rows changed by DML
	target    googlesql.Table
}

// maxResult bounds the memory of one result.
const maxResult = 512 << 20

// execute runs one GoogleSQL statement.
func (s *Server) execute(ctx context.Context, sql, dataset string, params *parameters) (*outcome, error) {
	s.stats.queries.Add(1)
	st, err := s.translate(sql, dataset, params)
	if err != nil {
		return nil, err
	}
	if st.Kind == googlesql.Query {
		out := &outcome{statement: "SELECT"}
		err := s.db.read(ctx, func(c *connection) error { return out.read(ctx, c, st.SQL) })
		return out, err
	}
	return s.change(ctx, st)
}

// dryRun translates a statement and returns a query's columns.
func (s *Server) dryRun(ctx context.Context, sql, dataset string, params *parameters) (*outcome, error) {
	st, err := s.translate(sql, dataset, params)
	if err != nil {
		return nil, err
	}
	out := &outcome{statement: statementNames[st.Kind], target: st.Target}
	if st.Kind == googlesql.Query {
		err = s.db.read(ctx, func(c *connection) error { return out.read(ctx, c, "SELECT * FROM ("+st.SQL+") LIMIT 0") })
	}
	return out, err
}

// read runs a query and keeps its result.
func (o *outcome) read(ctx context.Context, c *connection, sql string) error {
	r, err := c.query(ctx, sql)
	if err != nil {
		return queryError(err)
	}
	defer r.close()
	o.fields = fieldsOf(r.columns)
	err = r.each(func(row []any) error {
		o.rows = append(o.rows, append([]any(nil), row...))
		if o.size += sizeOfAll(row); o.size > maxResult {
			return &apiError{http.StatusForbidden, "responseTooLarge", "Response too large to return"}
		}
		return nil
	})
	var e *apiError
	if err != nil && !errors.As(err, &e) {
		return queryError(err)
	}
	return err
}

// Query runs a GoogleSQL query in process and returns its rows. STRING, INT64,
// FLOAT64, BOOL and BYTES are string, int64, float64, bool and []byte; TIMESTAMP
// is time.Time in UTC; NUMERIC, JSON, DATE and other types are strings as in the
// REST API; arrays are []any, structs map[string]any, NULL nil. Tables may be
// named dataset.table or project.dataset.table.
func (s *Server) Query(ctx context.Context, sql string) ([]map[string]any, error) {
	out, err := s.execute(ctx, sql, "", nil)
	if err != nil {
		return nil, err
	}
	rows := make([]map[string]any, len(out.rows))
	for i, row := range out.rows {
		rows[i] = goRow(row, out.fields)
	}
	return rows, nil
}

var statementNames = map[googlesql.Kind]string{
	googlesql.Query: "SELECT", googlesql.Insert: "INSERT", googlesql.Update: "UPDATE", googlesql.Delete: "DELETE",
	googlesql.Merge: "MERGE", googlesql.Truncate: "TRUNCATE_TABLE", googlesql.CreateTable: "CREATE_TABLE", googlesql.CreateView: "CREATE_VIEW",
	googlesql.CreateDataset: "CREATE_SCHEMA", googlesql.AddColumns: "ALTER_TABLE", googlesql.DropTable: "DROP_TABLE",
	googlesql.DropView: "DROP_VIEW", googlesql.DropDataset: "DROP_SCHEMA",
}

// change runs DML or DDL.
func (s *Server) change(ctx context.Context, st *googlesql.Statement) (*outcome, error) {
	out := &outcome{statement: statementNames[st.Kind], target: st.Target}
	t := &tableEntry{Dataset: st.Target.Dataset, ID: st.Target.Name}
	var err error
	switch st.Kind {
	case googlesql.Insert, googlesql.Update, googlesql.Delete, googlesql.Merge, googlesql.Truncate:
		out.affected, err = s.dml(ctx, st)
	case googlesql.CreateTable:
		if st.SQL != "" {
			out.statement = "CREATE_TABLE_AS_SELECT"
		}
		err = ignore(s.createFrom(ctx, t, st), errDuplicate, st.IfNotExists)
	case googlesql.CreateView:
		t.View = st.Source
		err = ignore(s.createView(ctx, t, st.OrReplace), errDuplicate, st.IfNotExists)
	case googlesql.CreateDataset:
		err = ignore(s.createDataset(ctx, &datasetEntry{ID: st.Target.Dataset}), errDuplicate, st.IfNotExists)
	case googlesql.AddColumns:
		var fields []field
		if fields, err = fieldsOfDefinitions(st.Columns); err == nil {
			err = s.growTable(ctx, t.Dataset, t.ID, fields)
		}
	case googlesql.DropTable, googlesql.DropView:
		err = ignore(s.dropTable(ctx, t.Dataset, t.ID), errNotFound, st.IfExists)
	case googlesql.DropDataset:
		err = ignore(s.dropDataset(ctx, t.Dataset, st.Cascade), errNotFound, st.IfExists)
	default:
		err = fmt.Errorf("bigqueryd: statement kind %d", st.Kind)
	}
	return out, err
}

func ignore(err, what error, yes bool) error {
	if yes && errors.Is(err, what) {
		return nil
	}
	return err
}

func (s *Server) dml(ctx context.Context, st *googlesql.Statement) (affected int64, err error) {
	err = s.lane.do(ctx, func(ctx context.Context, c *connection) error {
		t, err := s.catalog.table(st.Target.Dataset, st.Target.Name)
		if err != nil {
			return err
		}
		if t.isView() {
			return fmt.Errorf("%w: %s.%s is a view", errInvalid, t.Dataset, t.ID)
		}
		if st.Ambiguous != "" {
			if n, err := c.one(ctx, st.Ambiguous); err != nil {
				return queryError(err)
			} else if n != nil {
				return &apiError{http.StatusBadRequest, "invalidQuery", "UPDATE/MERGE must match at most one source row for each target row"}
			}
		}
		n, err := c.one(ctx, st.SQL)
		if err != nil {
			return queryError(err)
		}
		affected, _ = n.(int64)
		return nil
	}, nil)
	return affected, err
}

// createFrom makes a table with columns, from a query, or both.
func (s *Server) createFrom(ctx context.Context, t *tableEntry, st *googlesql.Statement) error {
	fields, err := fieldsOfDefinitions(st.Columns)
	if err != nil {
		return err
	}
	if st.SQL != "" && len(fields) == 0 {
		shape := &outcome{}
		if err := s.db.read(ctx, func(c *connection) error { return shape.read(ctx, c, "SELECT * FROM ("+st.SQL+") LIMIT 0") }); err != nil {
			return err
		}
		fields = shape.fields
	}
	t.fields = fields
	var fill *string
	if st.SQL != "" {
		fill = &st.SQL
	}
	if st.OrReplace {
		if err := ignore(s.dropTable(ctx, t.Dataset, t.ID), errNotFound, true); err != nil {
			return err
		}
	}
	return s.createTable(ctx, t, fill)
}

func fieldsOfDefinitions(columns []googlesql.Column) ([]field, error) {
	var out []field
	for _, c := range columns {
		children, err := fieldsOfDefinitions(c.Fields)
		if err != nil {
			return nil, err
		}
		modeName := ""
		switch {
		case c.Repeated:
			modeName = "REPEATED"
		case c.Required:
			modeName = "REQUIRED"
		}
		f, err := newField(c.Name, c.Type, modeName, "", children)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errInvalid, err)
		}
		out = append(out, f)
	}
	return out, uniqueNames(out)
}

// informationSchema returns the query of a view of INFORMATION_SCHEMA.
func (s *Server) informationSchema(dataset, view string) (string, bool) {
	var columns string
	var rows []string
	text := func(values ...string) {
		for i, v := range values {
			values[i] = googlesql.Text(v)
		}
		rows = append(rows, "("+strings.Join(values, ", ")+")")
	}
	switch view {
	case "SCHEMATA":
		columns = "catalog_name, schema_name, location"
		for _, d := range s.catalog.listDatasets() {
			text(s.project, d.ID, location)
		}
	case "TABLES":
		columns = "table_catalog, table_schema, table_name, table_type"
		for _, t := range s.catalog.listTables(dataset) {
			kind := "BASE TABLE"
			if t.isView() {
				kind = "VIEW"
			}
			text(s.project, dataset, t.ID, kind)
		}
	case "VIEWS":
		columns = "table_catalog, table_schema, table_name, view_definition"
		for _, t := range s.catalog.listTables(dataset) {
			if t.isView() {
				text(s.project, dataset, t.ID, t.View)
			}
		}
	case "COLUMNS":
		columns = "table_catalog, table_schema, table_name, column_name, ordinal_position, is_nullable, data_type"
		for _, t := range s.catalog.listTables(dataset) {
			for i, f := range t.fields {
				null := "YES"
				if f.mode == required {
					null = "NO"
				}
				rows = append(rows, fmt.Sprintf("(%s, %s, %s, %s, CAST(%d AS BIGINT), %s, %s)", googlesql.Text(s.project), googlesql.Text(dataset),
					googlesql.Text(t.ID), googlesql.Text(f.name), i+1, googlesql.Text(null), googlesql.Text(f.sqlType())))
			}
		}
	default:
		return "", false
	}
	if rows == nil {
		nulls := "''" + strings.Repeat(", ''", strings.Count(columns, ","))
		return "SELECT * FROM (VALUES (" + nulls + ")) AS t(" + columns + ") WHERE FALSE", true
	}
	return "SELECT * FROM (VALUES " + strings.Join(rows, ", ") + ") AS t(" + columns + ")", true
}

// sqlType returns the column's type in GoogleSQL.
func (f field) sqlType() string {
	t := kinds[f.kind].sql
	if f.kind == kindRecord {
		var parts []string
		for _, c := range f.fields {
			parts = append(parts, c.name+" "+c.sqlType())
		}
		t = "STRUCT<" + strings.Join(parts, ", ") + ">"
	}
	if f.mode == repeated {
		t = "ARRAY<" + t + ">"
	}
	return t
}
