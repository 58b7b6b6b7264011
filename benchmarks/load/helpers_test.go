package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// result is the output of a run, read back as another program would.
type result struct {
	figures
	Failures []struct {
		T, Due float64
		Kind   kind
		Mode   mode
		Target string
		Port   int
		Reused bool
		Phase  phase
		Error  string
	}
	ByMode            map[mode]figures `json:"by_mode"`
	ByTarget          map[string]share `json:"by_target"`
	IdleClosed        int              `json:"idle_closed"`
	AskedToClose      int              `json:"asked_to_close"`
	ConnectionsOpened int              `json:"connections_opened"`
	Started, Ended    float64

	status int
	live   []string
	record []recordLine
}

type recordLine struct {
	due, end  float64 // seconds
	mode      mode
	version   string
	pid, port string
	kind      kind
}

// load runs the generator to its end and checks what holds for every run.
func load(t *testing.T, args ...string) *result {
	t.Helper()
	return loadUntil(t, context.Background(), args...)
}

func loadUntil(t *testing.T, ctx context.Context, args ...string) *result {
	t.Helper()
	file := filepath.Join(t.TempDir(), "record.csv")
	var stdout, stderr bytes.Buffer
	status := run(ctx, append(args, "-record", file), &stdout, &stderr)
	if status == exitUsage {
		t.Fatalf("the run failed: %s", &stderr)
	}
	lines := strings.Split(strings.TrimSpace(stdout.String()), "\n")
	r := &result{status: status, live: lines[:len(lines)-1], record: readRecord(t, file)}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), r); err != nil {
		t.Fatal(err)
	}
	r.checkAccounts(t)
	return r
}

// checkAccounts checks that every view of the run tells of the same requests.
func (r *result) checkAccounts(t *testing.T) {
	t.Helper()
	kinds, modes, failedLines := 0, 0, 0
	for _, n := range r.Kinds {
		kinds += n
	}
	for _, f := range r.ByMode {
		modes += f.Requests
	}
	for _, line := range r.record {
		failedLines += one(line.kind != "")
	}
	targets := share{}
	for _, each := range r.ByTarget {
		targets.Requests += each.Requests
		targets.OK += each.OK
	}
	if targets != (share{r.Requests, r.OK}) {
		t.Errorf("the targets' shares are not all of it: %+v of %+v", targets, r.figures)
	}
	if r.OK+r.Failed != r.Requests || kinds != r.Failed || modes != r.Requests ||
		len(r.record) != r.Requests || failedLines != r.Failed || len(r.Failures) != min(r.Failed, keptFailures) {
		t.Errorf("the accounts disagree: %+v, %d lines, %d of them failed", r.figures, len(r.record), failedLines)
	}
	if (r.status == exitOK) != (r.Failed == 0) {
		t.Errorf("exit status %d with %d failed", r.status, r.Failed)
	}
}

func readRecord(t *testing.T, file string) (lines []recordLine) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows[1:] {
		due, _ := strconv.ParseFloat(row[0], 64)
		took, _ := strconv.ParseFloat(row[1], 64)
		lines = append(lines, recordLine{due, due + took/1e6, mode(row[2]), row[3], row[4], row[5], kind(row[6])})
	}
	return lines
}

// server is a TCP server that treats its connections as a test wants, and remembers their ports.
type server struct {
	net.Listener
	mu    sync.Mutex
	ports []int
	conns []net.Conn
}

// serve hands every connection to behave, with a reader for its requests.
func serve(t *testing.T, behave func(c *net.TCPConn, in *bufio.Reader)) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{Listener: l}
	go s.accept(behave)
	t.Cleanup(s.stop)
	return s
}

func (s *server) accept(behave func(*net.TCPConn, *bufio.Reader)) {
	for {
		c, err := s.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns = append(s.conns, c)
		s.ports = append(s.ports, c.RemoteAddr().(*net.TCPAddr).Port)
		s.mu.Unlock()
		go behave(c.(*net.TCPConn), bufio.NewReader(c))
	}
}

func (s *server) stop() {
	s.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		c.Close()
	}
}

func (s *server) address() string { return s.Addr().String() }

// knows says whether a connection came from the port.
func (s *server) knows(port int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.ports {
		if p == port {
			return true
		}
	}
	return false
}

// nextRequest reads a request and says whether the client asked to close.
func nextRequest(in *bufio.Reader) (closing bool, err error) {
	req, err := http.ReadRequest(in)
	if err != nil {
		return false, err
	}
	return req.Close, nil
}

// reply writes a good answer of version v1; header lines may be added.
func reply(w io.Writer, header string) {
	fmt.Fprintf(w, "HTTP/1.1 200 OK\r\nX-Version: v1\r\nX-Pid: 42\r\nContent-Length: 5\r\n%s\r\nhello", header)
}

// wellBehaved answers every request and closes when asked to.
func wellBehaved(c *net.TCPConn, in *bufio.Reader) {
	defer c.Close()
	for {
		closing, err := nextRequest(in)
		if err != nil {
			return
		}
		reply(c, "")
		if closing {
			return
		}
	}
}

func number(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// eventually waits for something that another goroutine brings about.
func eventually(t *testing.T, what string, true func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !true(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never happened:", what)
		}
	}
}
