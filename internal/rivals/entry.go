package main

import "time"

// logEntry is the log entry as a Go program would declare it, with the fields
// that become columns.
type logEntry struct {
	InsertID         string `json:"insertId"`
	Timestamp        string `json:"timestamp"`
	ReceiveTimestamp string `json:"receiveTimestamp"`
	JSONPayload      struct {
		ParentInsertID            *string `json:"parentInsertId"`
		CacheID                   string  `json:"cacheId"`
		StatusDetails             string  `json:"statusDetails"`
		RemoteIP                  string  `json:"remoteIp"`
		SecurityPolicyRequestData struct {
			RemoteIPInfo struct {
				RegionCode string `json:"regionCode"`
			} `json:"remoteIpInfo"`
		} `json:"securityPolicyRequestData"`
	} `json:"jsonPayload"`
	HTTPRequest struct {
		RequestMethod string `json:"requestMethod"`
		RequestURL    string `json:"requestUrl"`
		UserAgent     string `json:"userAgent"`
		Referer       string `json:"referer"`
		RemoteIP      string `json:"remoteIp"`
		Latency       string `json:"latency"`
		Status        int64  `json:"status"`
		RequestSize   *int64 `json:"requestSize,string"`
		ResponseSize  *int64 `json:"responseSize,string"`
		CacheHit      *bool  `json:"cacheHit"`
		CacheLookup   *bool  `json:"cacheLookup"`
	} `json:"httpRequest"`
	Resource struct {
		Labels struct {
			URLMapName string `json:"url_map_name"`
		} `json:"labels"`
	} `json:"resource"`

	// Made of the text above.
	eventTime, receiveTime, latency int64
	hasLatency                      bool
}

// times reads the times and the latency, in microseconds.
func (e *logEntry) times() error {
	at, err := time.Parse(time.RFC3339Nano, e.Timestamp)
	if err != nil {
		return err
	}
	received, err := time.Parse(time.RFC3339Nano, e.ReceiveTimestamp)
	if err != nil {
		return err
	}
	e.eventTime, e.receiveTime = at.UnixMicro(), received.UnixMicro()
	if e.HTTPRequest.Latency != "" {
		latency, err := time.ParseDuration(e.HTTPRequest.Latency)
		if err != nil {
			return err
		}
		e.latency, e.hasLatency = latency.Microseconds(), true
	}
	return nil
}
