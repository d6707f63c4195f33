package profileserver

import (
	"time"

	"pixelbeam/profiles"
)

// Profile is a profile as JSON. What is unknown is null.
type Profile struct {
	UserID    string  `json:"user_id"`
	FirstSeen *string `json:"first_seen"`
	LastSeen  *string `json:"last_seen"`
	Latest    Latest  `json:"latest"`
	// From and To are the period of the counters.
	From      string     `json:"from"`
	To        string     `json:"to"`
	Counters  []Counter  `json:"counters"`
	Truncated *Truncated `json:"truncated"`
}

// Latest is what the user's last event said.
type Latest struct {
	DeviceType *string `json:"device_type"`
	OS         *string `json:"os"`
	Browser    *string `json:"browser"`
	Country    *string `json:"country"`
	PageURL    *string `json:"page_url"`
}

// Counter is a number of events in the period.
type Counter struct {
	CampaignID    *string `json:"campaign_id"`
	EventType     string  `json:"event_type"`
	Count         int64   `json:"count"`
	Invalid       int64   `json:"invalid"`
	LastEventTime string  `json:"last_event_time"`
}

// Truncated says what is missing from the counters.
type Truncated struct {
	Windows  int64 `json:"windows"`
	Counters int64 `json:"counters"`
	Events   int64 `json:"events"`
}

// View returns a profile, which is not nil, as JSON, with the counters of what was
// read of a period.
func View(p *profiles.Profile, period profiles.Period) Profile {
	if period.From.Before(p.Period.From) {
		period.From = p.Period.From
	}
	v := Profile{
		UserID:    p.User,
		FirstSeen: moment(p.FirstSeen),
		LastSeen:  moment(p.LastSeen),
		Latest: Latest{
			DeviceType: text(p.DeviceType), OS: text(p.OS), Browser: text(p.Browser),
			Country: text(p.Country), PageURL: text(p.PageURL),
		},
		From:     Timestamp(period.From),
		To:       Timestamp(period.To),
		Counters: []Counter{},
	}
	for _, c := range p.Counters(period) {
		v.Counters = append(v.Counters, Counter{text(c.Campaign), c.EventType, c.Count, c.Invalid, Timestamp(c.Last)})
	}
	if t := p.Truncated(period); t.Windows > 0 {
		v.Truncated = (*Truncated)(&t)
	}
	return v
}

// Timestamp returns t in UTC as RFC 3339 with microseconds.
func Timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z07:00") }

func moment(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	s := Timestamp(t)
	return &s
}

func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
