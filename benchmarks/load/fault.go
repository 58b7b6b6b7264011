package main

import (
	"errors"
	"io"
	"net"
	"syscall"
)

// kind is the way in which a request failed.
type kind string

const (
	kindRefused  kind = "refused"  // nobody listens
	kindReset    kind = "reset"    // the connection was torn down
	kindClosed   kind = "closed"   // it ended before the end of the answer
	kindTimeout  kind = "timeout"  // no connection, or no complete answer, in time
	kindWrong    kind = "wrong"    // an answer, but not the expected one
	kindLost     kind = "lost"     // a datagram, or its answer, that never came
	kindOverload kind = "overload" // never sent: too much under way already
	kindOther    kind = "other"    // for instance no descriptors left
)

// phase is how far a failed request had come.
type phase string

const (
	phaseWait    phase = "wait" // for its turn: it was never sent
	phaseConnect phase = "connect"
	phaseWrite   phase = "write"
	phaseRead    phase = "read"
)

// fault is why a request failed.
type fault struct {
	kind  kind
	phase phase
	text  string
}

// broken is the fault of a request that err ended.
func broken(p phase, err error) *fault {
	return &fault{classify(p, err), p, err.Error()}
}

func wrong(p phase, text string) *fault { return &fault{kindWrong, p, text} }

func overload(text string) *fault { return &fault{kindOverload, phaseWait, text} }

// classify finds the kind of an error. What came while reading and is not an error of the network
// is an answer that could not be understood.
func classify(p phase, err error) kind {
	var network net.Error
	switch {
	case is(err, syscall.ECONNREFUSED, syscall.ENOENT):
		return kindRefused // ENOENT: the file of a Unix socket is gone
	case is(err, syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE):
		return kindReset
	case is(err, io.EOF, io.ErrUnexpectedEOF):
		return kindClosed
	case errors.As(err, &network):
		if network.Timeout() {
			return kindTimeout
		}
		return kindOther
	case p == phaseRead:
		return kindWrong
	}
	return kindOther
}

// is says whether err is one of several errors.
func is(err error, oneOf ...error) bool {
	for _, target := range oneOf {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}
