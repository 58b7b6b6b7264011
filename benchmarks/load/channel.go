package main

import "time"

// channel is a way to a target on which one request at a time is exchanged for its answer: an HTTP
// connection, or a UDP socket.
type channel interface {
	// exchange sends a request once and waits for its answer; last: it will be the only one.
	exchange(last bool, expect string, deadline time.Time) (answer, *fault)

	// check says what has become of a kept one since its last answer.
	check() (idleState, *fault)

	// about is what is known of it.
	about() *facts

	// farewell parts with it after its last answer.
	farewell()

	Close() error
}

// facts are what is known of every channel.
type facts struct {
	port int  // the client's; 0 for a Unix socket
	used bool // a request has been sent before
	dead bool // no request may be sent any more
}

func (f *facts) about() *facts { return f }

// answer is what a server said about itself, and whether it asked to close the connection.
type answer struct {
	version string
	pid     string
	closing bool
}
