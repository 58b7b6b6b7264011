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

// A child is a server process with one inherited socket, as fd 3, and a
// readiness pipe, as fd 4.
type child struct {
	*exec.Cmd
	ready  *bufio.Reader
	exited chan struct{}
	code   int
}

func startChild(t *testing.T, socket *os.File, env []string, args ...string) *child {
	t.Helper()
	return startChildLogging(t, socket, nil, env, args...)
}

// startChildLogging sends what the child writes to stderr to a file.
func startChildLogging(t *testing.T, socket, stderr *os.File, env []string, args ...string) *child {
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
	c.Env = append(os.Environ(), "RUN_SERVER=1", "LISTEN_FDS=1", "LISTEN_FDNAMES=http", "READY_FD=4")
	c.Env = append(c.Env, env...)
	if stderr != nil {
		c.Stderr = stderr
	}
	c.ExtraFiles = []*os.File{socket, writeEnd}
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
