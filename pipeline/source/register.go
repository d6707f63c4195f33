package source

import (
	"reflect"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"pixelbeam/transforms/logentry"
)

func init() {
	beam.RegisterType(reflect.TypeFor[logentry.Message]())
	beam.RegisterType(reflect.TypeFor[logentry.Batch]())
	register.Emitter1[logentry.Message]()
	register.Emitter2[beam.EventTime, logentry.Batch]()
}
