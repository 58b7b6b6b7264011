package main

import (
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// isDatagram tells a datagram socket from one that listens.
func isDatagram(fd int) bool {
	kind, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_TYPE)
	return err == nil && kind == syscall.SOCK_DGRAM
}

// inheritDatagram is inherit for a UDP socket.
func inheritDatagram(p passedFD) (*net.UDPConn, error) {
	file := os.NewFile(uintptr(p.fd), p.name)
	defer file.Close()
	packets, err := net.FilePacketConn(file)
	if err != nil {
		return nil, fmt.Errorf("fd %d (%q) is not a datagram socket: %w", p.fd, p.name, err)
	}
	conn, ok := packets.(*net.UDPConn)
	if !ok {
		packets.Close()
		return nil, fmt.Errorf("fd %d (%q) is a datagram socket, but not of UDP", p.fd, p.name)
	}
	return conn, nil
}

// echoes answer datagrams, each with itself and with who answered.
type echoes struct {
	conns     []*net.UDPConn
	signature []byte
	reading   sync.WaitGroup
}

func newEchoes(conns []*net.UDPConn) *echoes {
	signature := fmt.Sprintf("version %s\npid %d\n", version, os.Getpid())
	return &echoes{conns: conns, signature: []byte(signature)}
}

// serve answers on every socket until drain has emptied it.
func (e *echoes) serve() {
	for _, conn := range e.conns {
		conn := conn
		e.reading.Add(1)
		go func() {
			defer e.reading.Done()
			defer conn.Close()
			e.answer(conn)
		}()
	}
}

// answer reads until drain wakes it, and then what is left. A datagram in the
// queue of a socket is lost when the last of its holders closes it.
func (e *echoes) answer(conn *net.UDPConn) {
	room := make([]byte, 64<<10)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(room)
		switch {
		case err == nil:
			conn.WriteToUDPAddrPort(append(room[:n:n], e.signature...), from)
		case errors.Is(err, os.ErrDeadlineExceeded):
			e.answerRest(conn, room)
			return
		case errors.Is(err, net.ErrClosed):
			return
		default:
			log.Print(conn.LocalAddr(), ": ", err)
		}
	}
}

// answerRest answers until the queue is empty, and waits for nothing: a read
// deadline wins over a datagram that is there, so the socket is read by hand.
func (e *echoes) answerRest(conn *net.UDPConn, room []byte) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	raw.Control(func(fd uintptr) {
		for {
			n, from, err := syscall.Recvfrom(int(fd), room, syscall.MSG_DONTWAIT)
			if err == syscall.EINTR {
				continue
			}
			if err != nil {
				return
			}
			syscall.Sendto(int(fd), append(room[:n:n], e.signature...), 0, from)
		}
	})
}

// drain answers all that had come until the queue of each socket is empty, and
// closes it. Whoever replaces us has already steered new datagrams away.
func (e *echoes) drain() {
	if len(e.conns) == 0 {
		return
	}
	time.Sleep(lastAccepts)
	for _, conn := range e.conns {
		conn.SetReadDeadline(time.Now())
	}
	e.reading.Wait()
}
