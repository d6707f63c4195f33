package sink

import "sync"

// pool holds what DoFn instances of a process share: one V for each K, made by
// the first to acquire it and closed by the last to release it. Beam's Go harness
// never calls Teardown, so in practice a V lives as long as the process.
type pool[K comparable, V any] struct {
	mu  sync.Mutex
	all map[K]*lease[V]
}

type lease[V any] struct {
	value V
	users int
}

// acquire returns the V of a key, to be released once.
func (p *pool[K, V]) acquire(key K, open func() (V, error)) (V, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l, ok := p.all[key]
	if !ok {
		value, err := open()
		if err != nil {
			return value, err
		}
		l = &lease[V]{value: value}
		if p.all == nil {
			p.all = map[K]*lease[V]{}
		}
		p.all[key] = l
	}
	l.users++
	return l.value, nil
}

// release gives back what acquire returned.
func (p *pool[K, V]) release(key K, closeIt func(V)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.all[key]
	if l.users--; l.users == 0 {
		delete(p.all, key)
		closeIt(l.value)
	}
}
