package pixelurl

// Lint is a set of faults of a tag, as bits.
type Lint uint8

// The faults, in the order of their names.
const (
	// BadEscape: a % that two hex digits do not follow; it was kept.
	BadEscape Lint = 1 << iota
	// BadNumber: a width, height, size or price that is none; the column is
	// NULL, and the parameter stays in params.
	BadNumber
	// BadUTF8: bytes that are not UTF-8; U+FFFD stands for them.
	BadUTF8
	// NoCacheBuster: the column cache_buster is NULL, so a cache may have
	// answered for the pixel and impressions may be missing.
	NoCacheBuster
	// UnexpandedMacro: a value is a macro that nobody expanded.
	UnexpandedMacro

	numLints = iota
)

var lintNames = [numLints]string{
	"bad_escape", "bad_number", "bad_utf8", "no_cache_buster", "unexpanded_macro",
}

// lintSets holds the sorted names of each set, so that Names need not build them.
var lintSets = func() (sets [1 << numLints][]string) {
	for set := range sets {
		for i, name := range lintNames {
			if set>>i&1 != 0 {
				sets[set] = append(sets[set], name)
			}
		}
	}
	return sets
}()

// Names returns the names of the faults, sorted, nil if there is none. The slice
// is shared: do not change it.
func (l Lint) Names() []string { return lintSets[l&(1<<numLints-1)] }
