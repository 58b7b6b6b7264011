package main

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
)

// readiness is the way back to whoever started us: a pipe that wants a line
// (READY_FD), or a datagram socket that wants READY=1 (NOTIFY_SOCKET).
type readiness struct {
	fd     int    // the pipe's write end, or -1
	socket string // the socket's address, or ""
}

// takeReadiness reads the way back and takes it out of the environment, so
// that no child of ours can speak, or hold the pipe open, in our name.
func takeReadiness() (*readiness, error) {
	r := &readiness{fd: -1, socket: takeEnv("NOTIFY_SOCKET")}
	value := takeEnv("READY_FD")
	if value == "" {
		return r, nil
	}
	fd, err := strconv.Atoi(value)
	if err != nil || fd < 0 {
		return nil, fmt.Errorf("READY_FD=%q is not a file descriptor", value)
	}
	syscall.CloseOnExec(fd)
	r.fd = fd
	return r, nil
}

// writeLine says on the pipe that we can serve, and closes it.
func (r *readiness) writeLine() error {
	if r.fd < 0 {
		return nil
	}
	pipe := os.NewFile(uintptr(r.fd), "READY_FD")
	if pipe == nil {
		return fmt.Errorf("READY_FD=%d is not open", r.fd)
	}
	r.fd = -1
	defer pipe.Close()
	_, err := pipe.WriteString("ready\n")
	return err
}

// notify sends one sd_notify datagram; an address with a leading @ is abstract.
func (r *readiness) notify(message string) error {
	if r.socket == "" {
		return nil
	}
	conn, err := net.Dial("unixgram", r.socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Write([]byte(message))
	return err
}
