package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// mailbox is a UDP socket connected to a target. A request is one datagram with an id in it; its
// answer is a datagram that begins with it. What follows there, if anything does, is the body.
type mailbox struct {
	facts
	net.Conn
	room []byte
}

func newMailbox(nc net.Conn, port int) *mailbox {
	return &mailbox{facts: facts{port: port}, Conn: nc, room: make([]byte, 2048)}
}

// This run's ids tell its datagrams from those of another one that had the port before.
var (
	runID    = fmt.Sprintf("load %016x ", rand.Uint64())
	requests atomic.Uint64
)

// nextRequest is a datagram unlike any other.
func (m *mailbox) nextRequest() []byte {
	return []byte(fmt.Sprintf("%s%d\n", runID, requests.Add(1)))
}

// exchange sends one datagram, and reads until its answer comes.
func (m *mailbox) exchange(_ bool, expect string, deadline time.Time) (answer, *fault) {
	m.used = true
	m.SetDeadline(deadline)
	request := m.nextRequest()
	if _, err := m.Write(request); err != nil {
		return answer{}, m.broken(phaseWrite, err)
	}
	for {
		n, err := m.Read(m.room)
		if err != nil {
			return answer{}, m.broken(phaseRead, err)
		}
		body, ours := bytes.CutPrefix(m.room[:n], request)
		if ours {
			return judgeDatagram(string(body), expect)
		}
		if !m.late(m.room[:n]) {
			return answer{}, wrong(phaseRead, fmt.Sprintf("the answer to nothing that was asked: %.60q", m.room[:n]))
		}
	}
}

// late says whether a datagram answers an earlier request of this run, which was counted as lost.
func (m *mailbox) late(datagram []byte) bool { return bytes.HasPrefix(datagram, []byte(runID)) }

// broken is the fault of a request that err ended. A socket is not to blame for what was lost, and
// is used again.
func (m *mailbox) broken(p phase, err error) *fault {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &fault{kindLost, p, "no answer in time"}
	}
	m.dead = true
	return broken(p, err)
}

// judgeDatagram compares what followed the echoed request with what is expected.
func judgeDatagram(body, expect string) (answer, *fault) {
	ans := answer{version: field(body, "version "), pid: field(body, "pid ")}
	if !strings.HasPrefix(body, expect) {
		return ans, wrong(phaseRead, fmt.Sprintf("the body begins with %.60q", body))
	}
	return ans, nil
}

// field is the rest of the line that begins with name.
func field(body, name string) string {
	for _, line := range strings.Split(body, "\n") {
		if value, ok := strings.CutPrefix(line, name); ok {
			return value
		}
	}
	return ""
}

// check finds nothing: nobody closes a datagram socket from afar, and what came late is known by its id.
func (m *mailbox) check() (idleState, *fault) { return idleUsable, nil }

// farewell has nothing to wait for.
func (m *mailbox) farewell() { m.Close() }
