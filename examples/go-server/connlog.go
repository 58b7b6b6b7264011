package main

import (
	"fmt"
	"net"
	"os"
	"time"
)

// loggedListener writes down each connection it accepts, before anything is
// read from it, so that a test can tell who had a connection after a crash.
type loggedListener struct {
	net.Listener
	to *os.File
}

// logConnections makes the listeners log to a file, or leaves them alone when
// there is none to log to.
func logConnections(listeners []net.Listener, file string) ([]net.Listener, error) {
	if file == "" {
		return listeners, nil
	}
	to := os.Stderr
	if file != "-" {
		var err error
		if to, err = os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644); err != nil {
			return nil, err
		}
	}
	logged := make([]net.Listener, len(listeners))
	for i, l := range listeners {
		logged[i] = loggedListener{l, to}
	}
	return logged, nil
}

// Accept logs with a single write(2): lines of several processes never mix.
func (l loggedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		at := float64(time.Now().UnixMicro()) / 1e6
		fmt.Fprintf(l.to, "conn %s %d %s %.6f\n", remotePort(conn), os.Getpid(), version, at)
	}
	return conn, err
}

// remotePort is "-" for a connection that has no port.
func remotePort(conn net.Conn) string {
	_, port, err := net.SplitHostPort(conn.RemoteAddr().String())
	if err != nil {
		return "-"
	}
	return port
}
