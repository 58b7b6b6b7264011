package main

import (
	"fmt"
	"net"
	"strings"
)

// target is one address that requests go to, with the bytes of a request ready to be written.
type target struct {
	name    string // as on the command line
	network string // "tcp4", "tcp6" or "unix"
	address string // without names: nothing is left to be looked up
	ip      net.IP // nil for a Unix socket

	keepRequest []byte // leaves the connection open
	lastRequest []byte // asks the server to close it after the answer
}

// newTarget resolves HOST:PORT, unix:/path or unix:@abstract.
func newTarget(name, path string) (*target, error) {
	t := &target{name: name}
	host := "localhost"
	if socket, ok := strings.CutPrefix(name, "unix:"); ok {
		if socket == "" {
			return nil, fmt.Errorf("a path must follow unix:")
		}
		t.network, t.address = "unix", socket
	} else {
		tcp, err := net.ResolveTCPAddr("tcp", name)
		if err != nil {
			return nil, err
		}
		if tcp.IP == nil || tcp.Port == 0 {
			return nil, fmt.Errorf("both a host and a port are needed")
		}
		t.network, t.address, t.ip = family(tcp.IP), tcp.String(), tcp.IP
		host = name
	}
	head := "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\n"
	t.keepRequest = []byte(head + "\r\n")
	t.lastRequest = []byte(head + "Connection: close\r\n\r\n")
	return t, nil
}

func family(ip net.IP) string {
	if ip.To4() != nil {
		return "tcp4"
	}
	return "tcp6"
}

// onLoopback says whether any 127.x.y.z may be the source address of a connection to t.
func (t *target) onLoopback() bool {
	return t.network == "tcp4" && t.ip.IsLoopback()
}
