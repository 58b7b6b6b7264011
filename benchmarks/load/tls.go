package main

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// unwrapTime bounds the wait for the rest of a TLS record whose beginning is there.
const unwrapTime = 20 * time.Millisecond

// handshake makes TLS of a connected socket. Whoever answers is believed: what is judged here is
// whether a server answers, not who it is.
func handshake(socket net.Conn, deadline time.Time) (net.Conn, error) {
	secured := tls.Client(socket, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	secured.SetDeadline(deadline)
	return secured, secured.Handshake()
}

// unwrap says what the bytes on an idle TLS connection are, as peek would without TLS: its orderly
// end is a record, and so is what TLS itself has to say, which is nothing to us.
func (c *conn) unwrap() (int, error) {
	c.SetReadDeadline(time.Now().Add(unwrapTime))
	_, err := c.br.Peek(1)
	switch {
	case err == nil:
		return c.br.Buffered(), nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.lost = nil
		return 0, syscall.EAGAIN
	case errors.Is(err, io.EOF):
		return 0, nil
	}
	return 0, err
}
