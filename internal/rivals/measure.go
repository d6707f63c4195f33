package main

import (
	"math"
	"runtime"
	"syscall"
	"time"
)

// A contestant is a piece of work to be measured: run does it for item i.
type contestant struct {
	stage, who string
	items      int
	run        func(i int) error
	cost       cost
}

// cost is what one item takes.
type cost struct{ ns, bytes, allocs float64 }

func (c cost) minus(o cost) cost {
	return cost{math.Max(0, c.ns-o.ns), math.Max(0, c.bytes-o.bytes), math.Max(0, c.allocs-o.allocs)}
}

// measure runs the contestants in turn, rounds times each, and keeps the least
// that each took. What counts is CPU time of the process, the garbage collector's
// included, so that other programs on the machine matter little.
func measure(contestants []*contestant, rounds int, slice time.Duration) error {
	for round := range rounds {
		for _, c := range contestants {
			got, err := c.once(slice)
			if err != nil {
				return err
			}
			if round == 0 || got.ns < c.cost.ns {
				c.cost = got
			}
		}
	}
	return nil
}

// once runs all items again and again until they have taken slice.
func (c *contestant) once(slice time.Duration) (cost, error) {
	runtime.GC() // nobody pays for another's garbage
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start, n := cpuTime(), 0
	// The clock is a system call: it is asked every 2,000 items or so.
	for cpuTime()-start < slice {
		for range 1 + 2000/c.items {
			for i := range c.items {
				if err := c.run(i); err != nil {
					return cost{}, err
				}
			}
			n += c.items
		}
	}
	spent := cpuTime() - start
	runtime.ReadMemStats(&after)
	per := func(v uint64) float64 { return math.Round(float64(v)/float64(n)*100) / 100 }
	return cost{float64(spent.Nanoseconds()) / float64(n), per(after.TotalAlloc - before.TotalAlloc), per(after.Mallocs - before.Mallocs)}, nil
}

// cpuTime is the CPU time that this process has taken.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // the arguments are right
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
