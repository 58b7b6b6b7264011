package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// dialer opens connections whose local port is known even if connecting fails: the port is what
// finds a lost connection in a packet trace, so a refused one needs it most.
type dialer struct {
	sources int
	opened  atomic.Uint32 // counts attempts; picks the source address
}

// open connects once. The port is valid whether or not there is an error; it is 0 for a Unix socket
// and where not even binding worked.
func (d *dialer) open(t *target, deadline time.Time) (c channel, port int, err error) {
	if t.network == "unix" {
		c, err = d.openUnix(t, deadline)
		return c, 0, err
	}
	nd := net.Dialer{Deadline: deadline, KeepAlive: -1}
	source := d.nextSource(t)
	// After a failed connect the kernel has forgotten the port, so it is chosen, and read, before.
	// The control function runs again if the dialer drops a socket that connected to itself.
	nd.Control = func(_, _ string, raw syscall.RawConn) (err error) {
		if e := raw.Control(func(fd uintptr) { port, err = bindAny(int(fd), source) }); e != nil {
			return e
		}
		return err
	}
	nc, err := nd.Dial(t.network, t.address)
	if err != nil {
		return nil, port, err
	}
	if t.datagrams() {
		return newMailbox(nc, port), port, nil
	}
	c, err = newConn(nc, t, port, deadline)
	return c, port, err
}

// openUnix connects to a Unix socket. Where the queue of the listener is full, the kernel lets a
// blocking client wait but tells a non-blocking one EAGAIN; nothing has reached the server then, so
// to ask again until the deadline is to wait as a blocking client does, and not a retry.
func (d *dialer) openUnix(t *target, deadline time.Time) (*conn, error) {
	nd := net.Dialer{Deadline: deadline}
	for {
		nc, err := nd.Dial(t.network, t.address)
		if err == nil {
			return newConn(nc, t, 0, deadline)
		}
		if !errors.Is(err, syscall.EAGAIN) {
			return nil, err
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("the queue of the listener stayed full: %w", os.ErrDeadlineExceeded)
		}
		time.Sleep(time.Millisecond)
	}
}

// nextSource is the address to bind to; the unspecified one leaves the choice to the kernel.
func (d *dialer) nextSource(t *target) syscall.Sockaddr {
	switch {
	case t.ip.To4() == nil:
		return &syscall.SockaddrInet6{}
	case d.sources > 1:
		n := d.opened.Add(1) % uint32(d.sources)
		return &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, byte(1 + n)}}
	default:
		return &syscall.SockaddrInet4{}
	}
}

// bindAny binds a socket to a free port of source and says which. It does so without SO_REUSEADDR:
// with it the kernel may hand out a port that a living connection to the same target uses, and
// connecting would fail for a reason that is not the server's.
func bindAny(fd int, source syscall.Sockaddr) (int, error) {
	if err := syscall.Bind(fd, source); err != nil {
		return 0, fmt.Errorf("no free local port (more -sources would help): %w", os.NewSyscallError("bind", err))
	}
	bound, err := syscall.Getsockname(fd)
	if err != nil {
		return 0, os.NewSyscallError("getsockname", err)
	}
	switch a := bound.(type) {
	case *syscall.SockaddrInet4:
		return a.Port, nil
	case *syscall.SockaddrInet6:
		return a.Port, nil
	}
	return 0, nil
}
