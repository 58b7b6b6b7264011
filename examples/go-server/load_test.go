package main

import (
	"bufio"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A load is many clients of several kinds. None of them ever retries, so each
// request that is not answered with 200 is counted as failed.
type load struct {
	address string
	stop    atomic.Bool
	workers sync.WaitGroup

	sent, failed, dials atomic.Int64

	mu     sync.Mutex
	errors map[string]int
}

func startLoad(address string) *load {
	l := &load{address: address, errors: make(map[string]int)}
	l.start(8, l.busy)
	l.start(40, l.sparse)
	l.start(4, l.slow)
	l.start(2, l.fresh)
	return l
}

func (l *load) start(n int, worker func()) {
	for i := 0; i < n; i++ {
		l.workers.Add(1)
		go func() {
			defer l.workers.Done()
			for !l.stop.Load() {
				worker()
			}
		}()
	}
}

func (l *load) end() {
	l.stop.Store(true)
	l.workers.Wait()
}

func (l *load) count(kind string, err error) {
	l.sent.Add(1)
	if err == nil {
		return
	}
	l.failed.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errors[kind+": "+err.Error()]++
}

// busy sends one request after the other on a connection, until it is told
// that the connection ends.
func (l *load) busy() {
	l.session("busy", "/", func() { time.Sleep(time.Duration(rand.Intn(2500)) * time.Microsecond) })
}

// slow has a request under way nearly all the time.
func (l *load) slow() {
	l.session("slow", fmt.Sprintf("/slow?ms=%d", rand.Intn(900)), func() {})
}

// fresh makes a connection per request.
func (l *load) fresh() {
	l.dials.Add(1)
	conn, err := net.Dial("tcp", l.address)
	if err == nil {
		_, err = roundTrip(conn, bufio.NewReader(conn), "/")
		conn.Close()
	}
	l.count("fresh", err)
	time.Sleep(time.Duration(rand.Intn(8)) * time.Millisecond)
}

func (l *load) session(kind, path string, pause func()) {
	l.dials.Add(1)
	conn, err := net.Dial("tcp", l.address)
	if err != nil {
		l.count(kind, err)
		return
	}
	defer conn.Close()
	reader := bufio.NewReader(conn)
	for last := false; err == nil && !last && !l.stop.Load(); pause() {
		last, err = roundTrip(conn, reader, path)
		l.count(kind, err)
	}
}

// sparse thinks between requests, up to two seconds, with a connection idle
// meanwhile. It is net/http's own client, which sees when that is closed; a
// POST whose body cannot be read twice is never retried by it.
func (l *load) sparse() {
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	for !l.stop.Load() {
		body := struct{ io.Reader }{strings.NewReader("x=1")}
		resp, err := client.Post("http://"+l.address+"/", "text/plain", body)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if err == nil && resp.StatusCode != http.StatusOK {
				err = fmt.Errorf("status %d", resp.StatusCode)
			}
		}
		l.count("sparse", err)
		time.Sleep(time.Duration(rand.Intn(2000)) * time.Millisecond)
	}
}

// roundTrip sends one request and tells whether it was the connection's last.
func roundTrip(conn net.Conn, reader *bufio.Reader, path string) (last bool, err error) {
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, "POST "+path+" HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nx=1"); err != nil {
		return false, err
	}
	resp, err := http.ReadResponse(reader, nil)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return false, err
	}
	if resp.StatusCode != http.StatusOK {
		return false, fmt.Errorf("status %d", resp.StatusCode)
	}
	return resp.Close, nil
}
