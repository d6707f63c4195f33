package main

import (
	"os/exec"
	"syscall"
)

// setGroup takes the job out of our process group, so that Ctrl-C at a terminal
// reaches it through us, when all that was published is written.
func setGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
