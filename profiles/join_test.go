package profiles

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/bigtable"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"pixelbeam/schemas"
)

// joinTest is a joiner of one request at a time, which the test answers.
type joinTest struct {
	t *testing.T
	joiner
	calls chan call
}

type call struct {
	ctx    context.Context
	keys   string
	answer chan<- error
}

func newJoinTest(t *testing.T) *joinTest {
	j := &joinTest{t: t, calls: make(chan call)}
	j.most = 1
	j.do = func(ctx context.Context, keys []string, _ Period) (result, error) {
		answer := make(chan error)
		j.calls <- call{ctx, strings.Join(keys, " "), answer}
		if err := <-answer; err != nil {
			return result{}, err
		}
		out := result{profiles: map[string]*Profile{}, broken: map[string]error{"bad": errors.New("broken row")}}
		for _, key := range keys {
			out.profiles[key] = &Profile{User: key}
		}
		return out, nil
	}
	return j
}

// read begins a read, and returns once it is under way or waits.
func (j *joinTest) read(ctx context.Context, period Period, keys ...string) <-chan string {
	j.t.Helper()
	out := make(chan string, 1)
	before := j.reads()
	go func() {
		found, err := j.get(ctx, keys, period)
		for _, key := range keys {
			if err == nil && found.profiles[key] == nil {
				err = fmt.Errorf("%s is missing", key)
			}
		}
		out <- fmt.Sprint(err)
	}()
	for j.reads() == before {
		runtime.Gosched()
	}
	return out
}

func (j *joinTest) reads() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := j.running
	for _, g := range j.waiting {
		n += len(g.reads)
	}
	return n
}

// answer waits for a request of keys and answers it.
func (j *joinTest) answer(keys string, err error) {
	j.t.Helper()
	c := <-j.calls
	if c.keys != keys {
		j.t.Errorf("a request of %q, want %q", c.keys, keys)
	}
	c.answer <- err
}

func (j *joinTest) want(want string, reads ...<-chan string) {
	j.t.Helper()
	for i, r := range reads {
		if got := <-r; got != want {
			j.t.Errorf("read %d: %s, want %s", i, got, want)
		}
	}
}

func TestJoin(t *testing.T) {
	day, week := Last(24*time.Hour, now), Last(7*24*time.Hour, now)
	t.Run("by period", func(t *testing.T) {
		j := newJoinTest(t)
		first := j.read(t.Context(), day, "a")
		d := []<-chan string{j.read(t.Context(), day, "b", "c"), j.read(t.Context(), day, "a"), j.read(t.Context(), day, "c")}
		w := j.read(t.Context(), week, "b")
		j.answer("a", nil)
		j.answer("a b c", nil)
		j.answer("b", nil)
		j.want("<nil>", append(d, first, w)...)
		for j.reads() != 0 { // so that the next one goes at once
			runtime.Gosched()
		}
	})
	t.Run("up to maxKeys", func(t *testing.T) {
		j := newJoinTest(t)
		first := j.read(t.Context(), day, "a")
		many := make([]string, maxKeys-1)
		for i := range many {
			many[i] = fmt.Sprintf("k%02d", i)
		}
		reads := []<-chan string{first, j.read(t.Context(), day, many...), j.read(t.Context(), day, "y", "z"), j.read(t.Context(), day, "l")}
		j.answer("a", nil)
		j.answer(strings.Join(many, " ")+" l", nil)
		j.answer("y z", nil)
		j.want("<nil>", reads...)
	})
	t.Run("an error is everyone's", func(t *testing.T) {
		j := newJoinTest(t)
		first := j.read(t.Context(), day, "a")
		rest := []<-chan string{j.read(t.Context(), day, "b"), j.read(t.Context(), day, "c")}
		j.answer("a", nil)
		j.answer("b c", errors.New("down"))
		j.want("<nil>", first)
		j.want("down", rest...)
	})
	t.Run("but not what one asks wrongly", func(t *testing.T) {
		j := newJoinTest(t)
		first := j.read(t.Context(), day, "a")
		b, c := j.read(t.Context(), day, "b"), j.read(t.Context(), day, "c")
		invalid := status.Error(codes.InvalidArgument, "key")
		j.answer("a", nil)
		j.answer("b c", invalid)
		j.answer("b", invalid)
		j.answer("c", nil)
		j.want("<nil>", first, c)
		j.want(invalid.Error(), b)
	})
	t.Run("who goes away", func(t *testing.T) {
		j := newJoinTest(t)
		first := j.read(t.Context(), day, "a")
		ctx, cancel := context.WithCancel(t.Context())
		b, c := j.read(ctx, day, "b"), j.read(ctx, day, "c")
		j.answer("a", nil)
		call := <-j.calls
		cancel()
		j.want("context canceled", b, c)
		<-call.ctx.Done() // as nobody waits any more
		call.answer <- call.ctx.Err()
		j.want("<nil>", first)
	})
	t.Run("the last deadline", func(t *testing.T) {
		j := newJoinTest(t)
		first := j.read(t.Context(), day, "a")
		soon, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		late, cancel := context.WithTimeout(t.Context(), 2*time.Hour)
		defer cancel()
		rest := []<-chan string{j.read(soon, day, "b"), j.read(late, day, "c")}
		j.answer("a", nil)
		call := <-j.calls
		got, _ := call.ctx.Deadline()
		if want, _ := late.Deadline(); !got.Equal(want) {
			t.Errorf("deadline %v, want %v", got, want)
		}
		call.answer <- nil
		j.want("<nil>", append(rest, first)...)
	})
}

// A broken row is an error for those who ask for it, and for nobody that their
// read goes together with.
func TestBrokenRowOfAJoinedRead(t *testing.T) {
	tb := newTable(t)
	tb.window("good", minute(5), counters(count("c1", Impression, 3, 0)))
	tb.apply(schemas.ProfileKey("bad"), func(m *bigtable.Mutation) {
		m.Set(schemas.FamilyCounters, schemas.ColumnCounters, bigtable.Time(minute(1)), []byte("\xff"))
	})
	reader := tb.reader(Options{MaxCalls: 1})
	var reads sync.WaitGroup
	for i := range 200 {
		reads.Go(func() {
			user := []string{"good", "bad", "unknown"}[i%3]
			p, err := reader.Get(t.Context(), user, Last(time.Hour, now))
			switch {
			case user == "bad" && (err == nil || !strings.Contains(err.Error(), `"bad"`)),
				user == "unknown" && !errors.Is(err, ErrUnknown),
				user == "good" && (err != nil || p.Frequency("c1", "", Last(time.Hour, now)).Count != 3):
				t.Errorf("%s: %v, %v", user, p, err)
			}
		})
	}
	reads.Wait()
}
