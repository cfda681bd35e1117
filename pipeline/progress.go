package pipeline

// Progress shows how far long work has come. The stages report to it; what it
// looks like is the caller's business.
type Progress interface {
	// Start opens a counter for total units of work; total 0 means unknown.
	Start(what, unit string, total int64) Counter
}

// Counter counts units of one piece of work. Add may be called from many
// goroutines.
type Counter interface {
	Add(n int64)
	Done()
}

// Quiet is a Progress that shows nothing.
var Quiet Progress = quiet{}

type quiet struct{}

func (quiet) Start(string, string, int64) Counter { return quiet{} }
func (quiet) Add(int64)                           {}
func (quiet) Done()                               {}
