// Command rivals measures how long Pixelbeam takes from the bytes of a log entry
// to the bytes of a row, beside programs that do the same with the usual and with
// the quickest libraries, and prints one table. All are checked to make the same
// rows of the same entries first.
//
// It is a module of its own, so that the libraries stay out of Pixelbeam's.
//
// Usage: go run . [-readme FILE] [-rounds N]
package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"time"

	"github.com/ua-parser/uap-go/uaparser"
	"google.golang.org/protobuf/proto"

	"pixelbeam/schemas"
	pb "pixelbeam/schemas/pixelbeam/v1"
	"pixelbeam/transforms/useragent"
)

// root is the folder of the main module, seen from here.
const root = "../.."

func dictionary() []byte { return schemas.Dictionary() }

func main() {
	readme := flag.String("readme", "", "write the table into this `file`, between its marks")
	rounds := flag.Int("rounds", 5, "how often each is measured; the least counts")
	flag.Parse()
	if err := run(*readme, *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "rivals:", err)
		os.Exit(1)
	}
}

func run(readme string, rounds int) error {
	entries, err := readEntries()
	if err != nil {
		return err
	}
	agents := useragent.NewCache(useragent.Default(), 1<<12)
	field, err := newField(agents)
	if err != nil {
		return err
	}
	if err := field.check(entries); err != nil {
		return err
	}
	lines, err := field.measure(entries, rounds)
	if err != nil {
		return err
	}
	more, err := measureAgents(agents, rounds)
	if err != nil {
		return err
	}
	var size int
	for _, e := range entries {
		size += len(e)
	}
	text := fmt.Sprintf("%d typical entries of %s bytes on average, the user agents in the cache; CPU time of one\ncore, the garbage collector's included; least of %d rounds. Measured on %s.\n\n%s",
		len(entries), thousands(float64(size/len(entries))), rounds, machine(), header)
	for _, l := range append(lines, more...) {
		text += l.String()
	}
	fmt.Print(text)
	if readme == "" {
		return nil
	}
	doc, err := os.ReadFile(readme)
	if err != nil {
		return err
	}
	out, err := replaceSection(string(doc), text)
	if err != nil {
		return fmt.Errorf("%s: %w", readme, err)
	}
	return os.WriteFile(readme, []byte(out), 0o644)
}

// readEntries returns the typical entries of the impression package, but for the
// few with a query that net/url does not read to its end, such as one with the
// macro %%CACHEBUSTER%%.
func readEntries() ([][]byte, error) {
	data, err := os.ReadFile(filepath.Join(root, "transforms/impression/testdata/typical.jsonl"))
	if err != nil {
		return nil, err
	}
	agents := useragent.SharedCache()
	var entries [][]byte
	for _, entry := range bytes.Split(bytes.TrimSpace(data), []byte("\n")) {
		r := newIdiomatic(agents)
		if err := r.json(entry); err != nil {
			return nil, err
		}
		var escape url.EscapeError
		if err := r.query(); errors.As(err, &escape) {
			continue
		} else if err != nil {
			return nil, err
		}
		entries = append(entries, entry)
	}
	return entries, nil
}

// Names of those who run.
const (
	whoOurs      = "Pixelbeam"
	whoIdiomatic = "encoding/json, net/url, protobuf"
	whoBest      = "sonic, fasthttp, protowire"
)

// Stages.
const (
	stageJSON  = "JSON"
	stageQuery = "URL and query"
	stageRow   = "row, address, cached agent"
	stageWhole = "**whole**"
)

// field is all who compete.
type field struct {
	ours      *ours
	idiomatic *idiomatic
	best      *best
}

func newField(agents *useragent.Cache) (*field, error) {
	o, err := newOurs(agents)
	return &field{o, newIdiomatic(agents), newBest(agents)}, err
}

// whole is the work of the libraries, stage by stage.
func whole(json func([]byte) error, query func() error, row func([]byte) ([]byte, error), data, dst []byte) ([]byte, error) {
	if err := json(data); err != nil {
		return nil, err
	}
	if err := query(); err != nil {
		return nil, err
	}
	return row(dst)
}

// check compares the rows of all entries. Members of params may be in any order.
func (f *field) check(entries [][]byte) error {
	for i, data := range entries {
		want, err := f.ours.whole(data, nil)
		if err != nil {
			return fmt.Errorf("entry %d: %s: %w", i+1, whoOurs, err)
		}
		for who, other := range map[string]func() ([]byte, error){
			whoIdiomatic: func() ([]byte, error) {
				return whole(f.idiomatic.json, f.idiomatic.query, f.idiomatic.row, data, nil)
			},
			whoBest: func() ([]byte, error) { return whole(f.best.json, f.best.query, f.best.row, data, nil) },
		} {
			got, err := other()
			if err == nil {
				err = sameRow(want, got)
			}
			if err != nil {
				return fmt.Errorf("entry %d: %s: %w", i+1, who, err)
			}
		}
	}
	return nil
}

func sameRow(want, got []byte) error {
	var rows [2]pb.Impression
	var params [2]any
	for i, data := range [][]byte{want, got} {
		if err := proto.Unmarshal(data, &rows[i]); err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(rows[i].GetParams()), &params[i]); err != nil {
			return fmt.Errorf("params: %w", err)
		}
		rows[i].Params = nil
	}
	if !proto.Equal(&rows[0], &rows[1]) || !reflect.DeepEqual(params[0], params[1]) {
		return fmt.Errorf("the rows differ:\n%v\n%v\n%v\n%v", &rows[0], &rows[1], params[0], params[1])
	}
	return nil
}

// measure measures each stage and the whole; the last stage is what is left of
// the whole.
func (f *field) measure(entries [][]byte, rounds int) ([]line, error) {
	var size int
	for _, e := range entries {
		size += len(e)
	}
	size /= len(entries)
	dst := make([]byte, 0, 1<<14)
	add := func(who string, json func([]byte) error, query func() error, all func([]byte) ([]byte, error)) []*contestant {
		n := len(entries)
		return []*contestant{
			{stage: stageJSON, who: who, items: n, run: func(i int) error { return json(entries[i]) }},
			{stage: stageQuery, who: who, items: n, run: func(i int) error {
				if err := json(entries[i]); err != nil {
					return err
				}
				return query()
			}},
			{stage: stageWhole, who: who, items: n, run: func(i int) error {
				row, err := all(entries[i])
				if err == nil && len(row) < len("a row") {
					err = fmt.Errorf("%s made no row", who)
				}
				return err
			}},
		}
	}
	o, id, be := f.ours, f.idiomatic, f.best
	contestants := add(whoOurs, o.json, o.query, func(data []byte) ([]byte, error) { return o.whole(data, dst[:0]) })
	contestants = append(contestants, add(whoIdiomatic, id.json, id.query, func(data []byte) ([]byte, error) {
		return whole(id.json, id.query, id.row, data, dst[:0])
	})...)
	contestants = append(contestants, add(whoBest, be.json, be.query, func(data []byte) ([]byte, error) {
		return whole(be.json, be.query, be.row, data, dst[:0])
	})...)
	if err := measure(contestants, rounds, 300*time.Millisecond); err != nil {
		return nil, err
	}
	var lines []line
	for s, stage := range []string{stageJSON, stageQuery, stageRow, stageWhole} {
		var first cost
		for w := range 3 {
			// The query is measured together with the JSON before it.
			json, both, all := contestants[3*w], contestants[3*w+1], contestants[3*w+2]
			c := []cost{json.cost, both.cost.minus(json.cost), all.cost.minus(both.cost), all.cost}[s]
			l := line{stage: stage, who: json.who, cost: c}
			if stage == stageJSON || stage == stageWhole {
				l.bytes = size
			}
			if w == 0 {
				first = c
			} else {
				l.ratio = c.ns / first.ns
			}
			lines = append(lines, l)
		}
	}
	return lines, nil
}

// measureAgents measures user agents that no cache knows, and a hit of the cache.
func measureAgents(cache *useragent.Cache, rounds int) ([]line, error) {
	file, err := os.Open(filepath.Join(root, "transforms/useragent/testdata/agents.txt.gz"))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		return nil, err
	}
	var all, agents []string
	for lines := bufio.NewScanner(unzipped); lines.Scan(); {
		all = append(all, lines.Text())
	}
	const some = 200
	if len(all) < some {
		return nil, fmt.Errorf("%s has %d agents only", file.Name(), len(all))
	}
	for i := range some {
		agents = append(agents, all[i*len(all)/some])
	}
	rules, err := os.ReadFile(filepath.Join(root, "transforms/useragent/data/regexes.yaml"))
	if err != nil {
		return nil, err
	}
	uap, err := uaparser.NewFromBytes(rules)
	if err != nil {
		return nil, err
	}
	parser := useragent.Default()
	for _, ua := range agents {
		got, want := parser.Parse(ua), uap.ParseUserAgent(ua)
		if want.Family == "Other" {
			want.Family = ""
		}
		if got.Browser != want.Family {
			return nil, fmt.Errorf("user agent %q is %q, uap-go says %q", ua, got.Browser, want.Family)
		}
		cache.Lookup([]byte(ua))
	}
	keys := make([][]byte, len(agents))
	for i, ua := range agents {
		keys[i] = []byte(ua)
	}
	unseen := &contestant{who: whoOurs, items: some, run: func(i int) error { parser.Parse(agents[i]); return nil }}
	hit := &contestant{who: whoOurs, items: some, run: func(i int) error { cache.Lookup(keys[i]); return nil }}
	// uap-go has caches of its own, which are far smaller than this; the parts
	// in turn, as Parse starts a goroutine for each.
	rival := &contestant{who: "uap-go", items: len(all), run: nil}
	next := 0
	rival.items = 20
	rival.run = func(int) error {
		ua := all[next%len(all)]
		next += 131
		uap.ParseUserAgent(ua)
		uap.ParseOs(ua)
		uap.ParseDevice(ua)
		return nil
	}
	if err := measure([]*contestant{unseen, hit}, rounds, 300*time.Millisecond); err != nil {
		return nil, err
	}
	if err := measure([]*contestant{rival}, 1, 300*time.Millisecond); err != nil {
		return nil, err
	}
	return []line{
		{stage: "user agent, unseen", who: whoOurs, cost: unseen.cost},
		{stage: "user agent, unseen", who: rival.who, cost: rival.cost, ratio: rival.cost.ns / unseen.cost.ns},
		{stage: "user agent, cached", who: whoOurs, cost: hit.cost},
	}, nil
}
