package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test binary be the server too: started with RUN_SERVER
// set, it is one.
func TestMain(m *testing.M) {
	if takeEnv("RUN_SERVER") != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// A child is a server process with inherited sockets, from fd 3 on, and a
// readiness pipe, the fd after them.
type child struct {
	*exec.Cmd
	ready  *bufio.Reader
	exited chan struct{}
	code   int
}

// startChild gives it one socket.
func startChild(t *testing.T, socket *os.File, env []string, args ...string) *child {
	t.Helper()
	return startChildOn(t, []*os.File{socket}, nil, env, args...)
}

// startChildOn gives it several sockets, and sends what it writes to stderr to
// a file if there is one.
func startChildOn(t *testing.T, sockets []*os.File, stderr *os.File, env []string, args ...string) *child {
	t.Helper()
	readEnd, writeEnd, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	// The pid is only known inside: the shell puts it there, then becomes the server.
	shell := []string{"-c", `LISTEN_PID=$$ exec "$@"`, "sh", os.Args[0]}
	c := &child{
		Cmd:    exec.Command("sh", append(shell, args...)...),
		ready:  bufio.NewReader(readEnd),
		exited: make(chan struct{}),
	}
	c.Env = append(os.Environ(), "RUN_SERVER=1", fmt.Sprintf("LISTEN_FDS=%d", len(sockets)),
		"LISTEN_FDNAMES=http", fmt.Sprintf("READY_FD=%d", firstPassedFD+len(sockets)))
	c.Env = append(c.Env, env...)
	if stderr != nil {
		c.Stderr = stderr
	}
	c.ExtraFiles = append(append(c.ExtraFiles, sockets...), writeEnd)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	writeEnd.Close()
	go func() {
		c.Wait()
		c.code = c.ProcessState.ExitCode()
		readEnd.Close()
		close(c.exited)
	}()
	t.Cleanup(func() {
		c.Process.Kill()
		<-c.exited
	})
	return c
}

// waitReady returns what the child said on the pipe: "ready", or "" at its end.
func (c *child) waitReady() string {
	line, _ := c.ready.ReadString('\n')
	return strings.TrimSpace(line)
}

// waitExit returns the exit code, or -1 if the child lives on.
func (c *child) waitExit(limit time.Duration) int {
	select {
	case <-c.exited:
		return c.code
	case <-time.After(limit):
		return -1
	}
}

// stopped does something while the process stands still.
func (c *child) stopped(t *testing.T, do func()) {
	t.Helper()
	must(t, c.Process.Signal(syscall.SIGSTOP))
	defer c.Process.Signal(syscall.SIGCONT)
	var status syscall.WaitStatus
	for !status.Stopped() { // the kernel tells the parent, and it may be busy on the other core until then
		_, err := syscall.Wait4(c.Process.Pid, &status, syscall.WUNTRACED|syscall.WNOHANG, nil)
		must(t, err)
		time.Sleep(time.Millisecond)
	}
	do()
}

func (c *child) term() { c.Process.Signal(syscall.SIGTERM) }

// holds tells whether the process has the socket open.
func (c *child) holds(inode uint64) bool {
	dir := fmt.Sprintf("/proc/%d/fd", c.Process.Pid)
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if target, _ := os.Readlink(dir + "/" + e.Name()); target == fmt.Sprintf("socket:[%d]", inode) {
			return true
		}
	}
	return false
}
