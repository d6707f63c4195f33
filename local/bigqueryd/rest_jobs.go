package bigqueryd

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	bq "google.golang.org/api/bigquery/v2"
)

// queryRequest is the body of jobs.query.
type queryRequest struct {
	Query           string               `json:"query"`
	DefaultDataset  *bq.DatasetReference `json:"defaultDataset"`
	MaxResults      *int                 `json:"maxResults"`
	TimeoutMs       *int64               `json:"timeoutMs"`
	DryRun          bool                 `json:"dryRun"`
	UseLegacySQL    *bool                `json:"useLegacySql"`
	QueryParameters []queryParameter     `json:"queryParameters"`
	FormatOptions   struct {
		UseInt64Timestamp bool `json:"useInt64Timestamp"`
	} `json:"formatOptions"`
	Labels map[string]string `json:"labels"`
}

// jobRequest is the body of jobs.insert.
type jobRequest struct {
	JobReference  *bq.JobReference `json:"jobReference"`
	Configuration struct {
		DryRun bool              `json:"dryRun"`
		Labels map[string]string `json:"labels"`
		Query  *struct {
			queryRequest
			DestinationTable  *bq.TableReference `json:"destinationTable"`
			WriteDisposition  string             `json:"writeDisposition"`
			CreateDisposition string             `json:"createDisposition"`
		} `json:"query"`
	} `json:"configuration"`
}

// defaultWait is how long a request waits for a job unless it says.
const defaultWait = 10 * time.Second

// startQuery starts a job.
func (s *Server) startQuery(id string, req *queryRequest, dryRun bool, labels map[string]string) (*job, error) {
	if req.UseLegacySQL != nil && *req.UseLegacySQL {
		return nil, &apiError{http.StatusBadRequest, "invalid", "Legacy SQL is not supported by the local stand-in"}
	}
	params, err := parametersOf(req.QueryParameters)
	if err != nil {
		return nil, err
	}
	if id == "" {
		id = "job_" + rand.Text()
	}
	j := &job{id: id, query: req.Query, dryRun: dryRun, labels: labels}
	if req.DefaultDataset != nil {
		j.dataset = req.DefaultDataset.DatasetId
	}
	started := s.jobs.start(j, func(ctx context.Context) (*outcome, error) {
		if dryRun {
			return s.dryRun(ctx, j.query, j.dataset, params)
		}
		return s.execute(ctx, j.query, j.dataset, params)
	})
	if !started {
		return nil, fmt.Errorf("%w: Job %s:%s.%s", errDuplicate, s.project, location, id)
	}
	return j, nil
}

// await waits for a job, for ms milliseconds if that is not nil.
func await(ctx context.Context, j *job, ms *int64) {
	wait := defaultWait
	if ms != nil {
		wait = time.Duration(*ms) * time.Millisecond
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-j.done:
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (s *Server) runQuery(r *http.Request) (any, error) {
	var req queryRequest
	if err := readBody(r, &req); err != nil {
		return nil, err
	}
	j, err := s.startQuery("", &req, req.DryRun, req.Labels)
	if err != nil {
		return nil, err
	}
	await(r.Context(), j, req.TimeoutMs)
	p := page{int64Times: req.FormatOptions.UseInt64Timestamp}
	if req.MaxResults != nil {
		p.size = *req.MaxResults
	}
	return s.resultsOf(j, p, "bigquery#queryResponse")
}

func (s *Server) queryResults(r *http.Request) (any, error) {
	j, err := s.jobOf(r)
	if err != nil {
		return nil, err
	}
	p, err := pageOf(r)
	if err != nil {
		return nil, err
	}
	var wait *int64
	if text := r.URL.Query().Get("timeoutMs"); text != "" {
		ms, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%w: timeoutMs %q", errInvalid, text)
		}
		wait = &ms
	}
	await(r.Context(), j, wait)
	// maxResults=0 asks for the schema, and whether the job is done.
	if r.URL.Query().Get("maxResults") == "0" {
		p.start = int(^uint(0) >> 1)
	}
	return s.resultsOf(j, p, "bigquery#getQueryResultsResponse")
}

// resultsOf is the answer to jobs.query and jobs.getQueryResults.
func (s *Server) resultsOf(j *job, p page, kind string) (any, error) {
	out := map[string]any{"kind": kind, "jobReference": s.jobReference(j), "jobComplete": j.finished(), "cacheHit": false}
	if !j.finished() {
		return out, nil
	}
	if j.err != nil {
		return nil, j.err
	}
	o := j.outcome
	rows, token := p.cut(o.rows)
	out["schema"] = &bq.TableSchema{Fields: apiFields(o.fields)}
	out["totalRows"] = strconv.Itoa(len(o.rows))
	out["rows"] = rows
	out["totalBytesProcessed"] = "0"
	if token != "" {
		out["pageToken"] = token
	}
	if isDML(o.statement) {
		out["numDmlAffectedRows"] = strconv.FormatInt(o.affected, 10)
	}
	return out, nil
}

func isDML(statement string) bool {
	return statement == "INSERT" || statement == "UPDATE" || statement == "DELETE" || statement == "MERGE" || statement == "TRUNCATE_TABLE"
}

func (s *Server) insertJob(r *http.Request) (any, error) {
	if strings.HasPrefix(r.URL.Path, "/upload/") {
		return nil, &apiError{http.StatusNotImplemented, "notImplemented", "Load jobs are not supported by the local stand-in"}
	}
	var req jobRequest
	if err := readBody(r, &req); err != nil {
		return nil, err
	}
	q := req.Configuration.Query
	if q == nil {
		return nil, &apiError{http.StatusNotImplemented, "notImplemented", "Only query jobs are supported by the local stand-in"}
	}
	if q.DestinationTable != nil && !strings.HasPrefix(q.DestinationTable.DatasetId, "_") {
		return nil, &apiError{http.StatusNotImplemented, "notImplemented", "A destination table is not supported by the local stand-in: use CREATE TABLE ... AS or INSERT"}
	}
	id := ""
	if req.JobReference != nil {
		id = req.JobReference.JobId
	}
	j, err := s.startQuery(id, &q.queryRequest, req.Configuration.DryRun, req.Configuration.Labels)
	if err != nil {
		return nil, err
	}
	if j.dryRun {
		<-j.done
		if j.err != nil {
			return nil, j.err
		}
	}
	return s.jobResource(j), nil
}

func (s *Server) getJob(r *http.Request) (any, error) {
	j, err := s.jobOf(r)
	if err != nil {
		return nil, err
	}
	return s.jobResource(j), nil
}

func (s *Server) cancelJob(r *http.Request) (any, error) {
	j, err := s.jobOf(r)
	if err != nil {
		return nil, err
	}
	j.cancel()
	return map[string]any{"kind": "bigquery#jobCancelResponse", "job": s.jobResource(j)}, nil
}

func (s *Server) listJobs(*http.Request) (any, error) {
	out := &bq.JobList{Kind: "bigquery#jobList"}
	for _, j := range s.jobs.latest() {
		full := s.jobResource(j)
		out.Jobs = append(out.Jobs, &bq.JobListJobs{
			Id: full.Id, Kind: full.Kind, JobReference: full.JobReference, Configuration: full.Configuration, State: full.Status.State,
			Status: full.Status, Statistics: full.Statistics, ErrorResult: full.Status.ErrorResult,
		})
	}
	return out, nil
}

func (s *Server) jobOf(r *http.Request) (*job, error) {
	if j := s.jobs.get(r.PathValue("job")); j != nil {
		return j, nil
	}
	return nil, fmt.Errorf("%w: Job %s:%s", errNotFound, s.project, r.PathValue("job"))
}

func (s *Server) jobReference(j *job) *bq.JobReference {
	return &bq.JobReference{ProjectId: s.project, JobId: j.id, Location: location}
}

func (s *Server) jobResource(j *job) *bq.Job {
	notLegacy := false
	out := &bq.Job{
		Kind: "bigquery#job", Id: s.project + ":" + location + "." + j.id, JobReference: s.jobReference(j),
		Configuration: &bq.JobConfiguration{JobType: "QUERY", DryRun: j.dryRun, Labels: j.labels, Query: &bq.JobConfigurationQuery{
			Query: j.query, UseLegacySql: &notLegacy, Priority: "INTERACTIVE",
		}},
		Status:     &bq.JobStatus{State: "RUNNING"},
		Statistics: &bq.JobStatistics{CreationTime: j.created.UnixMilli(), StartTime: j.created.UnixMilli()},
	}
	if j.dataset != "" {
		out.Configuration.Query.DefaultDataset = &bq.DatasetReference{ProjectId: s.project, DatasetId: j.dataset}
	}
	if !j.finished() {
		return out
	}
	out.Status.State = "DONE"
	out.Statistics.EndTime = j.ended.UnixMilli()
	if j.err != nil {
		e := apiErrorOf(j.err)
		out.Status.ErrorResult = &bq.ErrorProto{Message: e.message, Reason: e.reason}
		out.Status.Errors = []*bq.ErrorProto{out.Status.ErrorResult}
		return out
	}
	o := j.outcome
	out.Statistics.Query = &bq.JobStatistics2{StatementType: o.statement, Schema: &bq.TableSchema{Fields: apiFields(o.fields)}}
	if isDML(o.statement) {
		out.Statistics.Query.NumDmlAffectedRows = o.affected
		out.Statistics.Query.ForceSendFields = []string{"NumDmlAffectedRows"}
	} else if o.target.Name != "" {
		out.Statistics.Query.DdlTargetTable = &bq.TableReference{ProjectId: s.project, DatasetId: o.target.Dataset, TableId: o.target.Name}
	}
	return out
}
