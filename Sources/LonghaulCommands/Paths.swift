import ClusterModel
import Foundation

/// Files and directories that a command line names: what cannot be right is refused before anything starts,
/// with the reason in words.
enum Paths {
    enum Kind {
        case nothing, file, directory
    }

    /// Links are followed.
    static func kind(_ path: String) -> Kind {
        guard !path.isEmpty, FileManager.default.fileExists(atPath: path) else { return .nothing }
        let whole = URL(filePath: path).resolvingSymlinksInPath().path
        let attributes = try? FileManager.default.attributesOfItem(atPath: whole)
        return attributes?[.type] as? FileAttributeType == .typeDirectory ? .directory : .file
    }

    /// - Parameter what: for the message: "the recording".
    static func read(_ path: String, _ what: String) throws -> Data {
        try requireReadable(path, what)
        do {
            return try Data(contentsOf: URL(filePath: path))
        } catch {
            throw Failure(
                .data, "cannot read \(what) '\(path)': \(error.localizedDescription)")
        }
    }

    static func requireReadable(_ path: String, _ what: String, hint: String = "") throws {
        let reason: String
        switch kind(path) {
        case .nothing: reason = "there is no such file"
        case .directory: reason = "this is a directory"
        case .file:
            guard !FileManager.default.isReadableFile(atPath: path) else { return }
            reason = "it is not readable for this user"
        }
        throw Failure(.data, "cannot read \(what) '\(path)': \(reason)", hint: hint)
    }

    /// Before a run and not after it: an hour may lie between. What is there already is emptied, and never
    /// replaced: it may be a device.
    static func prepareToWrite(_ path: String, _ what: String) throws {
        let hint = "name a file in a directory that exists and is writable"
        switch kind(path) {
        case .directory:
            throw Failure(
                .unavailable, "cannot write \(what) '\(path)': this is a directory", hint: hint)
        case .file:
            guard let file = FileHandle(forWritingAtPath: path) else {
                throw Failure(
                    .unavailable, "cannot write \(what) '\(path)': it may not be written to",
                    hint: hint)
            }
            try? file.truncate(atOffset: 0)
            try? file.close()
        case .nothing:
            guard FileManager.default.createFile(atPath: path, contents: nil) else {
                throw Failure(.unavailable, "cannot write \(what) '\(path)'", hint: hint)
            }
        }
    }

    /// Makes the directory of a run, with those above it, and sees to it that files can be made there.
    static func makeDirectory(_ path: String) throws {
        let hint = "give --dir a directory that is not there yet, in a place that may be written to"
        guard !path.isEmpty else {
            throw Failure(.usage, "--dir '' names no directory", hint: hint)
        }
        func refuse(_ reason: String) -> Failure {
            Failure(.unavailable, "cannot make the directory '\(path)': \(reason)", hint: hint)
        }
        if kind(path) == .file { throw refuse("there is a file of that name") }
        do {
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: true)
        } catch {
            throw refuse(
                "'\(nearest(path))' is there, and takes no directory of that name")
        }
        let probe = "\(path)/.writable-\(ProcessInfo.processInfo.processIdentifier)"
        do {
            try Data([0]).write(to: URL(filePath: probe))
            try FileManager.default.removeItem(atPath: probe)
        } catch {
            try? FileManager.default.removeItem(atPath: probe)
            throw Failure(
                .unavailable,
                "cannot write to the directory '\(path)': \(error.localizedDescription)",
                hint: "make room there, or give --dir another one")
        }
    }

    /// The part of a path that exists.
    private static func nearest(_ path: String) -> String {
        var url = URL(filePath: path)
        while kind(url.path) == .nothing, url.pathComponents.count > 1 {
            url.deleteLastPathComponent()
        }
        return url.path
    }
}
