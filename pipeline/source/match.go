package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"cloud.google.com/go/storage"
	"google.golang.org/api/iterator"
)

// file is one file or object to read.
type file struct {
	// Name is a path, or gs://bucket/object.
	Name string
	// Size is the stored size in bytes, before decompression.
	Size int64
	// Modified is the modification time, in microseconds since the Unix epoch.
	Modified int64
	// Generation pins a Storage object to the content that was listed; 0 for a
	// local file.
	Generation int64
	// Gzip says that the content is compressed, by its name or its
	// Content-Encoding, so that it can only be read from its beginning.
	Gzip bool
}

// entrySuffixes are the names that a folder is searched for.
var entrySuffixes = []string{".json", ".jsonl", ".json.gz", ".jsonl.gz"}

func hasEntrySuffix(name string) bool {
	return slices.ContainsFunc(entrySuffixes, func(s string) bool { return strings.HasSuffix(name, s) })
}

// match lists the files of all patterns, sorted by name, each once. A pattern
// without a file is an error that names it.
func match(ctx context.Context, patterns []string) ([]file, error) {
	byName := map[string]file{}
	var client *storage.Client
	for _, p := range patterns {
		var files []file
		var err error
		if isGCS(p) {
			if client == nil {
				if client, err = storage.NewClient(ctx); err != nil {
					return nil, fmt.Errorf("input %q: no Cloud Storage client: %w (log in with `gcloud auth application-default login`)", p, err)
				}
				defer client.Close()
			}
			files, err = matchGCS(ctx, client, p)
		} else {
			files, err = matchLocal(p)
		}
		if err != nil {
			return nil, err
		}
		if len(files) == 0 {
			return nil, noMatch(p)
		}
		for _, f := range files {
			byName[f.Name] = f
		}
	}
	out := make([]file, 0, len(byName))
	for _, f := range byName {
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b file) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func noMatch(pattern string) error {
	return fmt.Errorf("input %q matches no file (a folder is searched for %s)", pattern, strings.Join(entrySuffixes, ", "))
}

func isGCS(pattern string) bool { return strings.HasPrefix(pattern, "gs://") }

// matchLocal lists the files of one local pattern: a path, a glob by the rules
// of path/filepath, or a folder, which is searched recursively. A path that
// exists is taken as it is, even if it holds characters that a glob gives a
// meaning to.
func matchLocal(pattern string) ([]file, error) {
	paths := []string{pattern}
	if _, err := os.Stat(pattern); err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("input %q: %w", pattern, err)
		}
		if paths, err = filepath.Glob(pattern); err != nil {
			return nil, fmt.Errorf("input %q: %w", pattern, err)
		}
	}
	var out []file
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("input %q: %w", pattern, err)
		}
		if !info.IsDir() {
			out = append(out, localFile(path, info))
			continue
		}
		err = filepath.WalkDir(path, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !hasEntrySuffix(path) {
				return err
			}
			info, err := os.Stat(path) // follows a link to a file
			if err != nil {
				return err
			}
			if info.Mode().IsRegular() {
				out = append(out, localFile(path, info))
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("input %q: %w", pattern, err)
		}
	}
	return out, nil
}

func localFile(path string, info fs.FileInfo) file {
	return file{
		Name:     path,
		Size:     info.Size(),
		Modified: info.ModTime().UnixMicro(),
		Gzip:     strings.HasSuffix(path, ".gz"),
	}
}

// matchGCS lists the objects of one gs:// pattern. "*" and "?" do not cross
// "/", "**" does; a pattern that ends in "/", or is only a bucket, names
// everything below it.
func matchGCS(ctx context.Context, client *storage.Client, pattern string) ([]file, error) {
	bucket, object := splitGCS(pattern)
	folder := object == "" || strings.HasSuffix(object, "/")
	if folder {
		object += "**"
	}
	re, err := globRegexp(object)
	if err != nil {
		return nil, fmt.Errorf("input %q: %w", pattern, err)
	}
	query := &storage.Query{Prefix: literalPrefix(object), Projection: storage.ProjectionNoACL}
	if err := query.SetAttrSelection([]string{"Name", "Size", "Updated", "Generation", "ContentEncoding"}); err != nil {
		return nil, err
	}
	var out []file
	for it := client.Bucket(bucket).Objects(ctx, query); ; {
		attrs, err := it.Next()
		if err == iterator.Done {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("input %q: %w", pattern, err)
		}
		if strings.HasSuffix(attrs.Name, "/") || !re.MatchString(attrs.Name) || folder && !hasEntrySuffix(attrs.Name) {
			continue
		}
		out = append(out, file{
			Name:       "gs://" + bucket + "/" + attrs.Name,
			Size:       attrs.Size,
			Modified:   attrs.Updated.UnixMicro(),
			Generation: attrs.Generation,
			Gzip:       strings.HasSuffix(attrs.Name, ".gz") || attrs.ContentEncoding == "gzip",
		})
	}
}

// splitGCS cuts gs://bucket/object into its two parts; the object may be empty.
func splitGCS(name string) (bucket, object string) {
	bucket, object, _ = strings.Cut(strings.TrimPrefix(name, "gs://"), "/")
	return bucket, object
}

// literalPrefix is what every name that matches the glob begins with.
func literalPrefix(glob string) string {
	if i := strings.IndexAny(glob, `*?[`); i >= 0 {
		return glob[:i]
	}
	return glob
}

// globRegexp translates a glob over object names: "**/" is any number of
// folders, "**" anything, "*" anything but "/", "?" one character but "/",
// "[...]" a class, "[!...]" or "[^...]" its opposite.
func globRegexp(glob string) (*regexp.Regexp, error) {
	var re strings.Builder
	re.WriteString(`\A(?s:`)
	for rest := glob; rest != ""; {
		switch {
		case strings.HasPrefix(rest, "**/"):
			re.WriteString(`(?:.*/)?`)
			rest = rest[3:]
		case strings.HasPrefix(rest, "**"):
			re.WriteString(`.*`)
			rest = rest[2:]
		case rest[0] == '*':
			re.WriteString(`[^/]*`)
			rest = rest[1:]
		case rest[0] == '?':
			re.WriteString(`[^/]`)
			rest = rest[1:]
		case rest[0] == '[':
			end := strings.IndexByte(rest, ']')
			if end < 2 {
				return nil, errors.New("a [ without its ]")
			}
			class := rest[1:end]
			re.WriteByte('[')
			if class[0] == '!' || class[0] == '^' {
				re.WriteByte('^')
				class = class[1:]
			}
			re.WriteString(strings.NewReplacer(`\`, `\\`, `[`, `\[`, `^`, `\^`).Replace(class))
			re.WriteByte(']')
			rest = rest[end+1:]
		default:
			end := strings.IndexAny(rest, `*?[`)
			if end < 0 {
				end = len(rest)
			}
			re.WriteString(regexp.QuoteMeta(rest[:end]))
			rest = rest[end:]
		}
	}
	re.WriteString(`)\z`)
	return regexp.Compile(re.String())
}
