package main

import (
	"math/bits"
	"time"
)

// histogram counts durations in buckets that are less than 1 % wide, so that a run of any length
// takes the same memory.
type histogram struct {
	counts [(64 - mantissaBits) << mantissaBits]int
	total  int
	max    int64
}

const mantissaBits = 7

func (h *histogram) add(d time.Duration) {
	us := max(d.Microseconds(), 0)
	h.counts[bucket(us)]++
	h.total++
	h.max = max(h.max, us)
}

// bucket keeps the leading bits of a value and how far they were shifted.
func bucket(us int64) int {
	shift := max(bits.Len64(uint64(us))-mantissaBits-1, 0)
	return shift<<mantissaBits + int(us>>shift)
}

// upper is the largest value of a bucket: a percentile is never made better than it was.
func upper(bucket int) int64 {
	shift := max(bucket>>mantissaBits-1, 0)
	leading := int64(bucket - shift<<mantissaBits)
	return (leading+1)<<shift - 1
}

// percentile returns microseconds; share is from 0 to 1.
func (h *histogram) percentile(share float64) int64 {
	rank := int(share*float64(h.total) + 0.999999)
	for b, seen := 0, 0; b < len(h.counts); b++ {
		if seen += h.counts[b]; seen >= rank && seen > 0 {
			return min(upper(b), h.max)
		}
	}
	return 0
}

// percentiles is a histogram as it is printed.
type percentiles struct {
	P50  int64 `json:"p50"`
	P90  int64 `json:"p90"`
	P99  int64 `json:"p99"`
	P999 int64 `json:"p999"`
	Max  int64 `json:"max"`
}

func (h *histogram) percentiles() percentiles {
	return percentiles{h.percentile(.50), h.percentile(.90), h.percentile(.99), h.percentile(.999), h.max}
}
