// A coordinator in Go with one thing to do, as a baseline: agents meet at checkpoints.
//
// It speaks what old clients speak (wait_checkpoint and get_connection_count on /register/ID), in
// the way of the program that they were written for: a goroutine for each agent, a mutex for each
// checkpoint, a JSON document for each recipient. It has the races of that program mended, reads
// frames with nothing but the standard library, and leaves out all else: credentials, limits,
// fragments, pings, agents that die.
//
// stdout: the port of 127.0.0.1 where it listens. It ends when stdin does.
package main

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

const (
	guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
	lead = 500 * time.Millisecond
)

type message struct {
	Command string          `json:"command"`
	Content json.RawMessage `json:"content"`
}

type wait struct {
	Identifier  string `json:"identifier"`
	TargetCount int    `json:"target_count"`
}

type released struct {
	Identifier string `json:"identifier"`
	Finished   bool   `json:"finished"`
	StartAt    int64  `json:"start_at"`
}

type agent struct {
	writing sync.Mutex
	socket  net.Conn
}

type checkpoint struct {
	sync.Mutex
	target int
	joined []*agent
}

type room struct {
	sync.Mutex
	count       int
	checkpoints map[string]*checkpoint
}

type building struct {
	sync.Mutex
	rooms map[string]*room
}

func main() {
	listener, problem := net.Listen("tcp", "127.0.0.1:0")
	if problem != nil {
		fmt.Fprintln(os.Stderr, "meet:", problem)
		os.Exit(1)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	all := &building{rooms: map[string]*room{}}
	for {
		if socket, problem := listener.Accept(); problem == nil {
			go all.serve(socket)
		}
	}
}

func (b *building) serve(socket net.Conn) {
	defer socket.Close()
	reader := bufio.NewReader(socket)
	request, problem := http.ReadRequest(reader)
	if problem != nil {
		return
	}
	digest := sha1.Sum([]byte(request.Header.Get("Sec-WebSocket-Key") + guid))
	fmt.Fprintf(socket, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"+
		"Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(digest[:]))
	self, room := &agent{socket: socket}, b.enter(request.URL.Path)
	for {
		text, problem := read(reader)
		if problem != nil {
			return
		}
		room.receive(self, text)
	}
}

func (b *building) enter(name string) *room {
	b.Lock()
	defer b.Unlock()
	if b.rooms[name] == nil {
		b.rooms[name] = &room{checkpoints: map[string]*checkpoint{}}
	}
	b.rooms[name].count++
	return b.rooms[name]
}

func (r *room) receive(from *agent, text []byte) {
	var asked message
	if json.Unmarshal(text, &asked) != nil {
		return
	}
	switch asked.Command {
	case "get_connection_count":
		r.Lock()
		count := map[string]int{"count": r.count}
		r.Unlock()
		from.tell(asked.Command, count)
	case "wait_checkpoint":
		var content wait
		if json.Unmarshal(asked.Content, &content) == nil {
			r.find(content).join(from, content.Identifier)
		}
	}
}

func (r *room) find(asked wait) *checkpoint {
	r.Lock()
	defer r.Unlock()
	if r.checkpoints[asked.Identifier] == nil {
		r.checkpoints[asked.Identifier] = &checkpoint{target: asked.TargetCount}
	}
	return r.checkpoints[asked.Identifier]
}

func (c *checkpoint) join(who *agent, name string) {
	c.Lock()
	c.joined = append(c.joined, who)
	joined := c.joined
	c.Unlock()
	if len(joined) != c.target {
		return
	}
	for _, each := range joined {
		each.tell("wait_checkpoint", released{name, true, time.Now().Add(lead).UnixMilli()})
	}
}

func (a *agent) tell(command string, content any) {
	inner, _ := json.Marshal(content)
	text, _ := json.Marshal(message{command, inner})
	frame := []byte{0x81, byte(len(text))}
	if len(text) >= 126 {
		frame = []byte{0x81, 126, byte(len(text) >> 8), byte(len(text))}
	}
	a.writing.Lock()
	defer a.writing.Unlock()
	a.socket.Write(append(frame, text...))
}

// read returns the payload of one frame, which is masked and below 64 KiB.
func read(from *bufio.Reader) ([]byte, error) {
	var head [4]byte
	if _, problem := io.ReadFull(from, head[:2]); problem != nil {
		return nil, problem
	}
	size := int(head[1] & 127)
	if size == 126 {
		if _, problem := io.ReadFull(from, head[:2]); problem != nil {
			return nil, problem
		}
		size = int(binary.BigEndian.Uint16(head[:2]))
	}
	data := make([]byte, 4+size)
	if _, problem := io.ReadFull(from, data); problem != nil {
		return nil, problem
	}
	key, text := data[:4], data[4:]
	for i := range text {
		text[i] ^= key[i%4]
	}
	return text, nil
}
