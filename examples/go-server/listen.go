package main

import (
	"fmt"
	"log"
	"net"
	"os"
	"strconv"
	"strings"
)

// firstPassedFD is where systemd's protocol starts to count: after stderr.
const firstPassedFD = 3

// A passedFD is an inherited socket and the name it was given.
type passedFD struct {
	fd   int
	name string
}

// sockets are what we serve on: HTTP on the listeners, TCP and Unix alike, and
// an echo on the datagram sockets.
type sockets struct {
	listeners []net.Listener
	datagrams []*net.UDPConn
}

// listen returns the sockets this process was started with, or a fresh
// listener on addr when it was started without any.
func listen(addr string) (sockets, error) {
	passed, err := passedFDs()
	if err != nil {
		return sockets{}, err
	}
	if len(passed) == 0 {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return sockets{}, err
		}
		log.Print("listening on ", l.Addr())
		return sockets{listeners: []net.Listener{l}}, nil
	}
	var all sockets
	for _, p := range passed {
		if err := all.inherit(p); err != nil {
			return sockets{}, err
		}
	}
	return all, nil
}

// inherit takes one socket, as what it is.
func (s *sockets) inherit(p passedFD) error {
	if isDatagram(p.fd) {
		conn, err := inheritDatagram(p)
		if err != nil {
			return err
		}
		log.Printf("took datagram socket %q on %s", p.name, conn.LocalAddr())
		s.datagrams = append(s.datagrams, conn)
		return nil
	}
	l, err := inherit(p)
	if err != nil {
		return err
	}
	log.Printf("took listener %q on %s", p.name, l.Addr())
	s.listeners = append(s.listeners, l)
	return nil
}

// inherit makes a listener of an inherited fd. net.FileListener works on a
// duplicate, so the original is closed: else closing the listener would not
// close the socket, and whoever waits for that would wait until we exit.
func inherit(p passedFD) (net.Listener, error) {
	file := os.NewFile(uintptr(p.fd), p.name)
	if file == nil {
		return nil, fmt.Errorf("fd %d (%q) is not a file descriptor", p.fd, p.name)
	}
	defer file.Close()
	l, err := net.FileListener(file)
	if err != nil {
		return nil, fmt.Errorf("fd %d (%q) is not a listening socket: %w", p.fd, p.name, err)
	}
	return l, nil
}

// passedFDs reads LISTEN_FDS, or else LISTEN_FD, and takes the variables out of
// the environment: they are about this process, not about its children.
func passedFDs() ([]passedFD, error) {
	count, pid := takeEnv("LISTEN_FDS"), takeEnv("LISTEN_PID")
	names, single := takeEnv("LISTEN_FDNAMES"), takeEnv("LISTEN_FD")

	forUs := pid == "" || pid == strconv.Itoa(os.Getpid())
	if count != "" && forUs {
		return numberedFDs(count, names)
	}
	if single != "" {
		fd, err := strconv.Atoi(single)
		if err != nil || fd < 0 {
			return nil, fmt.Errorf("LISTEN_FD=%q is not a file descriptor", single)
		}
		return []passedFD{{fd, "LISTEN_FD"}}, nil
	}
	return nil, nil
}

// numberedFDs lists count fds from 3 up, with their names where there are any.
func numberedFDs(count, names string) ([]passedFD, error) {
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 {
		return nil, fmt.Errorf("LISTEN_FDS=%q is not a count", count)
	}
	nameOf := strings.Split(names, ":")
	var passed []passedFD
	for i := 0; i < n; i++ {
		p := passedFD{fd: firstPassedFD + i, name: fmt.Sprintf("LISTEN_FD_%d", firstPassedFD+i)}
		if i < len(nameOf) && nameOf[i] != "" {
			p.name = nameOf[i]
		}
		passed = append(passed, p)
	}
	return passed, nil
}

// takeEnv returns a variable and unsets it.
func takeEnv(key string) string {
	value := os.Getenv(key)
	os.Unsetenv(key)
	return value
}
