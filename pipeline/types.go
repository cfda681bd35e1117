package pipeline

// Item is one row of embedding work: an asset as one embedding sees it.
// Exactly one of URI and Text is set.
type Item struct {
	AssetID string // unique in the workspace
	Version string // of the content that is embedded
	URI     string // absolute, the bytes are fetched
	Text    string // inline text, UTF-8
}

// Reasons for a rejected row. They are stable words that users filter by; the
// details stand in Reject.Error.
const (
	ReasonMissingID     = "missing_id"
	ReasonDuplicateID   = "duplicate_id"
	ReasonInvalidUTF8   = "invalid_utf8"
	ReasonInvalidRow    = "invalid_row"   // not JSON, wrong type, wrong number of columns
	ReasonLineTooLong   = "line_too_long" // over the byte limit of the line reader
	ReasonNothing       = "no_content"    // neither a URI nor a text
	ReasonOutsideAllow  = "outside_allow"
	ReasonNotFound      = "not_found"
	ReasonEmpty         = "empty"
	ReasonTooLarge      = "too_large" // over the byte limit
	ReasonTooManyPixels = "too_many_pixels"
	ReasonNoPixels      = "no_pixels" // 0 wide or 0 high
	ReasonUnsupported   = "unsupported_format"
	ReasonTruncated     = "truncated"
	ReasonCorrupt       = "corrupt"
	ReasonBadVector     = "bad_vector" // NaN, infinite or all zero
	ReasonDimension     = "wrong_dimension"
	ReasonTwice         = "said_twice" // a prediction that stands twice with different confidences
	ReasonUnknownID     = "unknown_id" // of a vector that belongs to no asset
	ReasonTimeout       = "timeout"
	ReasonUnavailable   = "unavailable" // storage kept failing; tried again by the next run
	ReasonChanged       = "changed"     // the object changed while it was read
)

// Reject is a row that a stage could not process. It is listed in the rejects
// table; everything else goes on.
type Reject struct {
	AssetID   string `json:"asset_id"`
	Version   string `json:"version,omitempty"`
	Stage     string `json:"stage"`               // ingest, embed, …
	Subject   string `json:"subject,omitempty"`   // embed: the embedding's fingerprint
	Source    string `json:"source,omitempty"`    // ingest: the manifest file
	Line      int64  `json:"line,omitempty"`      // ingest: line or row in Source, from 1
	Reason    string `json:"reason"`              // one of the Reason words
	Error     string `json:"error"`               // what failed and what to do
	Transient bool   `json:"transient,omitempty"` // tried again by the next run
}
