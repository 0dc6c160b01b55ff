import ArgumentParser
import Foundation

/// Where the backend keeps what it knows.
struct StorageOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp("The folder of the database; made with mode 0700 if it isn't there.", valueName: "folder"))
    var data = "./backend-data"

    var folder: URL { URL(filePath: data) }
}
