package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"
)

// farewellTime bounds the wait for a server that was asked to close a connection.
const farewellTime = time.Second

// conn is a connection to a target, with TLS or without. Requests are written and answers read by
// hand, because net/http's own client sends a request again, unasked, when a kept connection turns
// out dead.
type conn struct {
	facts
	net.Conn
	socket net.Conn // what Conn is made of: itself, or what is below its TLS
	raw    syscall.RawConn
	br     *bufio.Reader
	target *target
	lost   error // how reading ended
}

// newConn makes a connection of a connected socket, which for TLS takes a handshake.
func newConn(socket net.Conn, t *target, port int, deadline time.Time) (*conn, error) {
	raw, err := socket.(syscall.Conn).SyscallConn()
	if err != nil {
		socket.Close()
		return nil, err
	}
	c := &conn{facts: facts{port: port}, Conn: socket, socket: socket, raw: raw, target: t}
	if t.tls {
		if c.Conn, err = handshake(socket, deadline); err != nil {
			socket.Close()
			return nil, err
		}
	}
	c.br = bufio.NewReaderSize(c, 1024)
	return c, nil
}

// Read remembers how reading ended. The parser does not always say: a header line that is cut off
// by a reset, a timeout or the end is to it just a malformed line.
func (c *conn) Read(p []byte) (n int, err error) {
	n, err = c.Conn.Read(p)
	if err != nil {
		c.lost = err
	}
	return n, err
}

// exchange writes one request and reads its answer to the end.
func (c *conn) exchange(last bool, expect string, deadline time.Time) (answer, *fault) {
	c.used = true
	c.SetDeadline(deadline)
	request := c.target.keepRequest
	if last {
		request = c.target.lastRequest
	}
	if _, err := c.Write(request); err != nil {
		return answer{}, c.broken(phaseWrite, err)
	}
	resp, err := http.ReadResponse(c.br, nil)
	if err != nil {
		return answer{}, c.broken(phaseRead, err)
	}
	ans := answer{resp.Header.Get("X-Version"), resp.Header.Get("X-Pid"), resp.Close}
	head, err := readBody(resp.Body, len(expect))
	if err != nil {
		return ans, c.broken(phaseRead, err)
	}
	c.dead = ans.closing
	return ans, judge(resp, head, expect)
}

// broken is the fault of a request after which the connection is of no use.
func (c *conn) broken(p phase, err error) *fault {
	c.dead = true
	if c.lost != nil {
		err = c.lost
	}
	return broken(p, err)
}

// readBody reads a body to its end and returns up to n bytes from its beginning.
func readBody(body io.Reader, n int) ([]byte, error) {
	head, err := io.ReadAll(io.LimitReader(body, int64(n)))
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(io.Discard, body)
	return head, err
}

// judge compares a complete answer with the expected one.
func judge(resp *http.Response, head []byte, expect string) *fault {
	if resp.StatusCode != http.StatusOK {
		return wrong(phaseRead, "status "+resp.Status)
	}
	if !bytes.Equal(head, []byte(expect)) {
		return wrong(phaseRead, fmt.Sprintf("the body begins with %q", head))
	}
	return nil
}

// idleState is what has become of a kept connection since its last answer.
type idleState int

const (
	idleUsable idleState = iota
	idleClosed           // the server closed it, which it may
	idleBroken           // reset, or spoken on without a request
)

// check looks at an idle connection without taking anything from it. It is called right before the
// next write, so that a server that closed in time is not blamed for a request it never saw.
func (c *conn) check() (idleState, *fault) {
	n, err := c.br.Buffered(), error(nil)
	if n == 0 {
		n, err = c.peek()
	}
	if n > 0 && c.target.tls {
		n, err = c.unwrap()
	}
	switch {
	case err == syscall.EAGAIN:
		return idleUsable, nil
	case err != nil:
		return idleBroken, broken(phaseWrite, fmt.Errorf("on the idle connection: %w", err))
	case n > 0:
		return idleBroken, wrong(phaseWrite, "the server spoke on an idle connection")
	}
	return idleClosed, nil
}

// peek asks the kernel what a read would return. It goes through Control and not Read because Read
// would first fail on the deadline of the request before.
func (c *conn) peek() (n int, err error) {
	var one [1]byte
	e := c.raw.Control(func(fd uintptr) {
		for err = syscall.EINTR; err == syscall.EINTR; {
			n, _, err = syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		}
	})
	if e != nil {
		return 0, e
	}
	return n, err
}

// farewell lets the server close first. The side that closes first keeps the port for a minute
// (TIME_WAIT), and at thousands of connections per second this side would run out of ports. To
// close with a reset instead would save them too, but a server that still reads would see an error.
// Under TLS it is the socket's end that counts: TLS announces its own a moment before.
func (c *conn) farewell() {
	c.socket.SetDeadline(time.Now().Add(farewellTime))
	io.Copy(io.Discard, c.socket)
	c.Close()
}

// Close closes the socket, without TLS's own farewell: a server that reads on would only answer it.
func (c *conn) Close() error { return c.socket.Close() }
