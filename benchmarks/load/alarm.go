package main

import (
	"context"
	"os"
	"syscall"
	"time"
	"unsafe"
)

// alarm wakes the schedule at its instants. It is a timerfd because Go's own timers are rounded to
// the milliseconds of epoll_wait: time.Sleep is up to 1 ms late here, the timerfd about 30 µs.
type alarm struct {
	file *os.File
	fd   uintptr
}

// itimerspec is the kernel's struct itimerspec; without an interval the timer fires once.
type itimerspec struct {
	interval, value syscall.Timespec
}

func newAlarm() (*alarm, error) {
	const clockMonotonic = 1
	fd, _, errno := syscall.Syscall(syscall.SYS_TIMERFD_CREATE, clockMonotonic, syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if errno != 0 {
		return nil, os.NewSyscallError("timerfd_create", errno)
	}
	return &alarm{os.NewFile(fd, "timerfd"), fd}, nil
}

// wait sleeps until the instant, or returns at once if it has passed. It returns false if ctx ended
// meanwhile.
func (a *alarm) wait(ctx context.Context, instant time.Time) bool {
	left := time.Until(instant)
	if left > 0 && ctx.Err() == nil {
		a.set(left)
		var expirations [8]byte
		a.file.Read(expirations[:])
	}
	return ctx.Err() == nil
}

func (a *alarm) set(left time.Duration) {
	spec := itimerspec{value: syscall.NsecToTimespec(int64(left))}
	syscall.Syscall6(syscall.SYS_TIMERFD_SETTIME, a.fd, 0, uintptr(unsafe.Pointer(&spec)), 0, 0, 0)
}

// interruptWith makes the end of ctx end a wait under way.
func (a *alarm) interruptWith(ctx context.Context) {
	context.AfterFunc(ctx, func() { a.file.SetReadDeadline(time.Unix(1, 0)) })
}

func (a *alarm) close() { a.file.Close() }
