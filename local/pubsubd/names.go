package pubsubd

import (
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// checkName returns an INVALID_ARGUMENT error unless name is
// projects/PROJECT/KIND/ID, KIND being topics or subscriptions.
func checkName(name, kind string) error {
	parts := strings.Split(name, "/")
	if len(parts) != 4 || parts[0] != "projects" || parts[1] == "" || parts[2] != kind || parts[3] == "" {
		return status.Errorf(codes.InvalidArgument, "name %.300q: want projects/PROJECT/%s/ID", name, kind)
	}
	return nil
}

// checkProject returns an INVALID_ARGUMENT error unless name is projects/PROJECT.
func checkProject(name string) error {
	project, ok := strings.CutPrefix(name, "projects/")
	if !ok || project == "" || strings.Contains(project, "/") {
		return status.Errorf(codes.InvalidArgument, "project %.300q: want projects/PROJECT", name)
	}
	return nil
}

// notFound is the answer for a topic or subscription that is not there.
func notFound(name string) error {
	return status.Errorf(codes.NotFound, "Resource not found (resource=%s).", name)
}

// alreadyExists is the answer for a topic or subscription that is there.
func alreadyExists(name string) error {
	return status.Errorf(codes.AlreadyExists, "Resource already exists in the project (resource=%s).", name)
}

// page cuts the page that follows token out of sorted names. A size of 0 is 1000.
func page(names []string, size int32, token string) (out []string, next string, err error) {
	if size < 0 {
		return nil, "", status.Errorf(codes.InvalidArgument, "page size %d: want 0 or more", size)
	}
	if size == 0 {
		size = 1000
	}
	for _, name := range names {
		if name <= token {
			continue
		}
		if len(out) == int(size) {
			return out, out[len(out)-1], nil
		}
		out = append(out, name)
	}
	return out, "", nil
}
