package main

import (
	"net"
	"os"
	"syscall"
	"testing"
	"unsafe"
)

// Numbers of Linux that package syscall does not have.
const (
	soReusePort           = 15
	soAttachReuseportCBPF = 51
	tcpInfoUnacked        = 24 // offset of tcpi_unacked: for a listener, the length of its queue
)

// groupSocket makes one more listening socket on a SO_REUSEPORT address.
//
// It makes it by hand, and blocking: os.File.Fd, which os/exec calls, clears
// O_NONBLOCK on files that have it, in every process that shares the socket.
func groupSocket(t *testing.T, address *net.TCPAddr) *os.File {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	must(t, err)
	must(t, syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1))
	must(t, syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, soReusePort, 1))
	name := &syscall.SockaddrInet4{Port: address.Port}
	copy(name.Addr[:], address.IP.To4())
	must(t, syscall.Bind(fd, name))
	must(t, syscall.Listen(fd, 4096))
	return os.NewFile(uintptr(fd), "group")
}

// newSocket is the first of its group, on a port of its own.
func newSocket(t *testing.T) (*os.File, *net.TCPAddr) {
	t.Helper()
	loopback := net.IPv4(127, 0, 0, 1)
	socket := groupSocket(t, &net.TCPAddr{IP: loopback})
	name, err := syscall.Getsockname(int(socket.Fd()))
	must(t, err)
	return socket, &net.TCPAddr{IP: loopback, Port: name.(*syscall.SockaddrInet4).Port}
}

// steer sends every new connection of the group to its index-th socket.
func steer(t *testing.T, member *os.File, index uint32) {
	t.Helper()
	filter := []syscall.SockFilter{{Code: syscall.BPF_RET | syscall.BPF_K, K: index}}
	program := syscall.SockFprog{Len: 1, Filter: &filter[0]}
	_, _, errno := syscall.Syscall6(syscall.SYS_SETSOCKOPT, member.Fd(), syscall.SOL_SOCKET,
		soAttachReuseportCBPF, uintptr(unsafe.Pointer(&program)), unsafe.Sizeof(program), 0)
	if errno != 0 {
		t.Fatal("SO_ATTACH_REUSEPORT_CBPF: ", errno)
	}
}

// queueLength is the number of connections that wait to be accepted.
func queueLength(t *testing.T, listener *os.File) uint32 {
	t.Helper()
	var info [104]byte
	size := uint32(len(info))
	_, _, errno := syscall.Syscall6(syscall.SYS_GETSOCKOPT, listener.Fd(), syscall.IPPROTO_TCP,
		syscall.TCP_INFO, uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		t.Fatal("TCP_INFO: ", errno)
	}
	return *(*uint32)(unsafe.Pointer(&info[tcpInfoUnacked]))
}

func inode(t *testing.T, f *os.File) uint64 {
	t.Helper()
	info, err := f.Stat()
	must(t, err)
	return info.Sys().(*syscall.Stat_t).Ino
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
