/// What `--version` and every report say.
package enum Longhaul {
    package static let version = "0.2.0"
}
