import Foundation
import GRDB

/// The connection to the database within one transaction. Its statements are in the extensions, one file a noun.
struct SQLiteTransaction: StorageWriter {
    let database: Database

    func exists(_ query: String, _ arguments: StatementArguments) throws -> Bool {
        try Row.fetchOne(database, sql: query, arguments: arguments) != nil
    }

    func row(_ query: String, _ arguments: StatementArguments) throws -> Row? {
        try Row.fetchOne(database, sql: query, arguments: arguments)
    }

    func rows(_ query: String, _ arguments: StatementArguments) throws -> [Row] {
        try Row.fetchAll(database, sql: query, arguments: arguments)
    }

    func execute(_ statement: String, _ arguments: StatementArguments = []) throws {
        try database.execute(sql: statement, arguments: arguments)
    }

    /// - Returns: Whether the statement changed a row.
    func change(_ statement: String, _ arguments: StatementArguments) throws -> Bool {
        try execute(statement, arguments)
        return database.changesCount > 0
    }

    /// Cuts a page from the rows of a query whose last argument is how many it returns at most.
    func page<Element>(
        _ query: String, _ arguments: StatementArguments, limit: Int, element: (Row) throws -> Element
    ) throws -> Page<Element> {
        let rows = try rows(query, arguments + [limit + 1])
        return try Page(rows: rows, limit: limit, sequence: { $0["sequence"] }, element: element)
    }
}
