import ClusterModel

/// Addresses that others are told to dial must be ones they can dial.
enum Reachability {
    static func check(listen: String, advertise: String?) throws {
        if advertise == nil, listen.contains("//0.0.0.0:") || listen.contains("//*:") {
            throw Failure(
                .usage, "--listen \(listen) is no address that others can dial",
                hint: "add --advertise with this machine's host name or address")
        }
        guard let advertise else { return }
        let isHost =
            !advertise.isEmpty
            && advertise.allSatisfy { character in
                character.isASCII
                    && (character.isLetter || character.isNumber || ".-:[]_".contains(character))
            }
        guard isHost else {
            throw Failure(
                .usage, "--advertise '\(advertise)' is not a host name or address",
                hint: "for example --advertise worker7.example.org; the port follows --listen")
        }
    }
}
