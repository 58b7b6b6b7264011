package main

import (
	"fmt"
	"time"
)

// outcome is all that is kept of one request.
type outcome struct {
	due     time.Time
	late    time.Duration // how long after due it left the schedule: the generator's own fault
	took    time.Duration // from due to the end of the answer, or to the failure
	mode    mode
	target  *target
	version string
	pid     string
	port    int
	reused  bool
	fault   *fault // nil: ok

	opened       bool // it opened a connection,
	idleClosed   bool // found that the server had closed the idle one it was given,
	askedToClose bool // was told to close the one it used
}

// kind is the kind of failure, and empty if there was none.
func (o *outcome) kind() kind {
	if o.fault == nil {
		return ""
	}
	return o.fault.kind
}

// stamp is an instant as it is written everywhere: Unix time in seconds, to the microsecond.
type stamp struct{ time.Time }

func (s stamp) String() string {
	us := s.UnixMicro()
	return fmt.Sprintf("%d.%06d", us/1e6, us%1e6)
}

func (s stamp) MarshalJSON() ([]byte, error) { return []byte(s.String()), nil }
