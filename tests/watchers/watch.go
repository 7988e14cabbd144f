// Watches a directory with fsnotify, and one file in it with viper, as many programs in Go do.
//
//	watch DIRECTORY FILE
//
// Prints "EVENT NAME" for each event of fsnotify, and "reloaded CONTENT" when viper has read the file again.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/fsnotify/fsnotify"
	"github.com/spf13/viper"
)

func main() {
	config := viper.New()
	config.SetConfigFile(os.Args[2])
	config.SetConfigType("properties")
	if err := config.ReadInConfig(); err != nil {
		fmt.Println("error", err)
	}
	config.OnConfigChange(func(fsnotify.Event) { fmt.Println("reloaded", config.GetString("value")) })
	config.WatchConfig()

	watcher, err := fsnotify.NewWatcher()
	if err == nil {
		err = watcher.Add(os.Args[1])
	}
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	fmt.Println("ready")
	for event := range watcher.Events {
		fmt.Println(event.Op, filepath.Base(event.Name))
	}
}
