package main

import (
	"fmt"
	"net"
	"strings"
)

// target is one address that requests go to, with the bytes of a request ready to be written.
type target struct {
	name    string // as on the command line
	network string // "tcp4", "tcp6", "udp4", "udp6" or "unix"
	address string // without names: nothing is left to be looked up
	ip      net.IP // nil for a Unix socket
	tls     bool

	keepRequest []byte // leaves the connection open
	lastRequest []byte // asks the server to close it after the answer
}

// newTarget resolves HOST:PORT, https://HOST:PORT, udp://HOST:PORT, unix:/path or unix:@abstract.
func newTarget(name, path string) (*target, error) {
	t := &target{name: name}
	host := "localhost"
	if socket, ok := strings.CutPrefix(name, "unix:"); ok {
		if socket == "" {
			return nil, fmt.Errorf("a path must follow unix:")
		}
		t.network, t.address = "unix", socket
	} else {
		host = t.scheme()
		if err := t.resolve(host); err != nil {
			return nil, err
		}
	}
	head := "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\n"
	t.keepRequest = []byte(head + "\r\n")
	t.lastRequest = []byte(head + "Connection: close\r\n\r\n")
	return t, nil
}

// scheme takes note of what is before HOST:PORT, and returns that.
func (t *target) scheme() (address string) {
	if address, ok := strings.CutPrefix(t.name, "udp://"); ok {
		t.network = "udp"
		return address
	}
	t.network = "tcp"
	address, t.tls = strings.CutPrefix(t.name, "https://")
	return address
}

// resolve makes an address of HOST:PORT.
func (t *target) resolve(address string) error {
	found, err := net.ResolveTCPAddr("tcp", address) // for UDP it would be the same
	if err != nil {
		return err
	}
	if found.IP == nil || found.Port == 0 {
		return fmt.Errorf("both a host and a port are needed")
	}
	t.network += "6"
	if found.IP.To4() != nil {
		t.network = t.network[:3] + "4"
	}
	t.address, t.ip = found.String(), found.IP
	return nil
}

// datagrams says whether a request to t is a datagram.
func (t *target) datagrams() bool { return strings.HasPrefix(t.network, "udp") }

// onLoopback says whether any 127.x.y.z may be the source address of what is sent to t.
func (t *target) onLoopback() bool {
	return t.ip.To4() != nil && t.ip.IsLoopback()
}
