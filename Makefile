.PHONY: build test
build:
	swift build -c release

test:
	swift test -c release
