package profileserver

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// minToken is the length below which a token could be guessed.
const minToken = 16

// reloadAfter is how old what was read of a token file may be.
const reloadAfter = 5 * time.Second

// Tokens are the bearer tokens that a server accepts. A nil one accepts every
// request.
type Tokens struct {
	file string

	mu      sync.Mutex
	hashes  [][sha256.Size]byte
	checked time.Time
	changed time.Time
}

// ParseTokens returns tokens that stand in a text, separated by spaces, commas or
// line breaks.
func ParseTokens(text string) (*Tokens, error) {
	hashes, err := parseTokens(text)
	if err != nil {
		return nil, err
	}
	return &Tokens{hashes: hashes}, nil
}

// ReadTokens returns the tokens of a file, one or more a line; what follows a # is
// a comment. A file that changes is read again within seconds; as long as it cannot
// be read, or is wrong, the tokens before hold and the server's log says why.
func ReadTokens(file string) (*Tokens, error) {
	t := &Tokens{file: file}
	return t, t.load(time.Now())
}

func (t *Tokens) load(now time.Time) error {
	t.checked = now
	info, err := os.Stat(t.file)
	if err != nil {
		return err
	}
	if info.ModTime().Equal(t.changed) {
		return nil
	}
	text, err := os.ReadFile(t.file)
	if err != nil {
		return err
	}
	hashes, err := parseTokens(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", t.file, err)
	}
	t.hashes, t.changed = hashes, info.ModTime()
	return nil
}

func parseTokens(text string) ([][sha256.Size]byte, error) {
	var hashes [][sha256.Size]byte
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		for token := range strings.FieldsFuncSeq(line, func(r rune) bool { return strings.ContainsRune(" ,\t\r\n", r) }) {
			if len(token) < minToken {
				return nil, fmt.Errorf("token %d has %d characters, want at least %d", len(hashes)+1, len(token), minToken)
			}
			hashes = append(hashes, sha256.Sum256([]byte(token)))
		}
	}
	if len(hashes) == 0 {
		return nil, errors.New("there is no token")
	}
	return hashes, nil
}

// allow tells whether a request brings a token. How long it takes does not depend
// on the token: hashes are compared, all of them, in constant time.
func (t *Tokens) allow(r *http.Request, log *slog.Logger) bool {
	if t == nil {
		return true
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return false
	}
	got := sha256.Sum256([]byte(strings.TrimSpace(token)))
	known := 0
	for _, hash := range t.current(log) {
		known |= subtle.ConstantTimeCompare(hash[:], got[:])
	}
	return known == 1
}

func (t *Tokens) current(log *slog.Logger) [][sha256.Size]byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := time.Now(); t.file != "" && now.Sub(t.checked) > reloadAfter {
		if err := t.load(now); err != nil {
			log.Error("the tokens cannot be read again, those before hold", "error", err)
		}
	}
	return t.hashes
}
