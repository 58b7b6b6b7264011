package main

import (
	"crypto/tls"
	"net"
	"net/http"
	"time"
)

const (
	// lastAccepts is how long we still accept after TERM. Whoever replaces us
	// has already steered new clients away; this is for those on their way.
	lastAccepts = 20 * time.Millisecond

	// drainTick is how often a drain looks whether it is done.
	drainTick = 10 * time.Millisecond
)

// serve accepts on every listener until it is closed by drain.
func (cs *connections) serve(server *http.Server, listeners []net.Listener, failed chan<- error) {
	secured := server.TLSConfig // before Serve, which sets one if there is none
	for _, l := range listeners {
		l := cs.track(l, secured)
		cs.accepting.Add(1)
		go func() {
			defer cs.accepting.Done()
			if err := server.Serve(l); !cs.leaving.Load() {
				failed <- err
			}
		}()
	}
}

// track lets a listener's connections be counted, and puts TLS on them if
// there is any: what counts as idle is seen below it, byte by byte.
func (cs *connections) track(l net.Listener, secured *tls.Config) net.Listener {
	l = trackedListener{l, cs}
	if secured != nil {
		l = tls.NewListener(l, secured)
	}
	return l
}

// drain ends the service without losing a request, and returns when the last
// connection has gone. It does not use http.Server.Shutdown, which closes
// every idle connection at once, even one whose next request it has just read.
//
// A client learns that we leave from the "Connection: close" on its next
// answer. One that sends no request cannot be told, so an idle connection is
// closed once it was idle for the time idle, though never before grace has
// passed: by then a request that crosses the close on the wire is unlikely.
// A request under way is never cut, however long it takes.
func (cs *connections) drain(listeners []net.Listener, grace, idle time.Duration) {
	asked := time.Now()
	cs.leaving.Store(true) // from here on, every answer says "Connection: close"
	time.Sleep(lastAccepts)
	for _, l := range listeners {
		l.Close()
	}
	cs.accepting.Wait() // what was accepted is counted now
	for cs.count() > 0 {
		if time.Since(asked) >= grace {
			cs.endIdle(idle)
		}
		time.Sleep(drainTick)
	}
}
