package bigtabled

import (
	"sort"
	"time"

	"cloud.google.com/go/bigtable/admin/apiv2/adminpb"
)

// keep returns how many of a column's cells a rule keeps. versions are their
// timestamps in microseconds, newest first: whatever the rule, what it condemns
// is older than what it keeps.
func keep(rule *adminpb.GcRule, versions []int64, now time.Time) int {
	switch rule := rule.GetRule().(type) {
	case *adminpb.GcRule_MaxNumVersions:
		return min(len(versions), int(rule.MaxNumVersions))
	case *adminpb.GcRule_MaxAge:
		cutoff := now.Add(-rule.MaxAge.AsDuration()).UnixMicro()
		return sort.Search(len(versions), func(i int) bool { return versions[i] < cutoff })
	case *adminpb.GcRule_Union_: // a cell goes if any rule condemns it
		kept := len(versions)
		for _, r := range rule.Union.Rules {
			kept = min(kept, keep(r, versions, now))
		}
		return kept
	case *adminpb.GcRule_Intersection_: // a cell goes if all rules condemn it
		if len(rule.Intersection.Rules) == 0 {
			return len(versions)
		}
		kept := 0
		for _, r := range rule.Intersection.Rules {
			kept = max(kept, keep(r, versions, now))
		}
		return kept
	}
	return len(versions)
}

// oneVersion reports whether a rule keeps at most the newest cell of a column.
func oneVersion(rule *adminpb.GcRule) bool {
	switch rule := rule.GetRule().(type) {
	case *adminpb.GcRule_MaxNumVersions:
		return rule.MaxNumVersions == 1
	case *adminpb.GcRule_Union_:
		for _, r := range rule.Union.Rules {
			if oneVersion(r) {
				return true
			}
		}
	}
	return false
}
