package pixelurl

import "strconv"

// Column is a column of the table impressions that a parameter fills.
type Column int

// The columns, in the order of the table.
const (
	EventType Column = iota
	ImpressionID
	AdvertiserID
	CampaignID
	InsertionOrderID
	LineItemID
	CreativeID
	AdID
	PlacementID
	SiteID
	PublisherID
	DealID
	UserID
	DeviceID
	Price
	Currency
	Width
	Height
	PageURL
	Referrer
	ClickURL
	CacheBuster
	// NumColumns is the number of columns.
	NumColumns
)

// size is what sz=300x250 fills, as it were a column: width and height.
const size = NumColumns

var columnNames = [...]string{
	EventType:        "event_type",
	ImpressionID:     "impression_id",
	AdvertiserID:     "advertiser_id",
	CampaignID:       "campaign_id",
	InsertionOrderID: "insertion_order_id",
	LineItemID:       "line_item_id",
	CreativeID:       "creative_id",
	AdID:             "ad_id",
	PlacementID:      "placement_id",
	SiteID:           "site_id",
	PublisherID:      "publisher_id",
	DealID:           "deal_id",
	UserID:           "user_id",
	DeviceID:         "device_id",
	Price:            "price",
	Currency:         "currency",
	Width:            "width",
	Height:           "height",
	PageURL:          "page_url",
	Referrer:         "referrer",
	ClickURL:         "click_url",
	CacheBuster:      "cache_buster",
	size:             "size",
}

// String returns the column's name in BigQuery.
func (c Column) String() string {
	if c < 0 || c >= NumColumns {
		return "Column(" + strconv.Itoa(int(c)) + ")"
	}
	return columnNames[c]
}

// Signal is a consent parameter. Signals are read from the query and stay in
// params as well.
type Signal int

// The signals.
const (
	GDPR Signal = iota
	GDPRConsent
	USPrivacy
	GPP
	COPPA
	GPC
	// NumSignals is the number of signals.
	NumSignals
)

var signalNames = [NumSignals]string{
	GDPR:        "gdpr",
	GDPRConsent: "gdpr_consent",
	USPrivacy:   "us_privacy",
	GPP:         "gpp",
	COPPA:       "coppa",
	GPC:         "gpc",
}

// String returns the signal's canonical parameter name.
func (s Signal) String() string {
	if s < 0 || s >= NumSignals {
		return "Signal(" + strconv.Itoa(int(s)) + ")"
	}
	return signalNames[s]
}
