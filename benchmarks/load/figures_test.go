package main

import (
	"bytes"
	"context"
	"math"
	"path/filepath"
	"testing"
	"time"
)

func TestPercentilesAreNeverFlattering(t *testing.T) {
	var h histogram
	for i := 1; i <= 100_000; i++ {
		h.add(time.Duration(i) * time.Microsecond)
	}
	for share, exact := range map[float64]int64{.5: 50_000, .9: 90_000, .99: 99_000, .999: 99_900} {
		if got := h.percentile(share); got < exact || float64(got) > 1.01*float64(exact) {
			t.Errorf("percentile %g is %d, want %d and at most 1 %% more", share, got, exact)
		}
	}
}

func TestEveryDurationHasABucket(t *testing.T) {
	for _, us := range []int64{0, 1, 127, 128, 255, 256, 1e6, math.MaxInt64} {
		if b := bucket(us); upper(b) < us {
			t.Errorf("bucket %d of %d µs ends at %d", b, us, upper(b))
		}
	}
	var h histogram
	h.add(math.MaxInt64)
	h.add(-1)
}

func TestAnEmptyHistogramIsZero(t *testing.T) {
	var h histogram
	if p := h.percentiles(); p != (percentiles{}) {
		t.Errorf("got %+v", p)
	}
}

func TestBadCommandLinesAreRefused(t *testing.T) {
	for _, args := range [][]string{
		{},
		{"-target", "nowhere"},
		{"-target", "127.0.0.1:0"},
		{"-target", "unix:"},
		{"-target", "127.0.0.1:1", "-rate", "0"},
		{"-target", "127.0.0.1:1", "-rate", "NaN"},
		{"-target", "127.0.0.1:1", "-mode", "other"},
		{"-target", "127.0.0.1:1", "-path", "x"},
		{"-target", "127.0.0.1:1", "-sources", "255"},
		{"-target", "[::1]:1", "-sources", "2"},
		{"-target", "127.0.0.1:1", "-record", filepath.Join(t.TempDir(), "no", "file")},
		{"-target", "127.0.0.1:1", "more"},
	} {
		var stdout, stderr bytes.Buffer
		if status := run(context.Background(), args, &stdout, &stderr); status != exitUsage || stderr.Len() == 0 {
			t.Errorf("%q: status %d, %q", args, status, &stderr)
		}
	}
}
