import Cryptography
import Foundation
import Testing

/// Keys made for this test with `openssl`; they are used nowhere.
@Suite struct ClientKeyTests {
    static let certificate = """
        -----BEGIN CERTIFICATE-----
        MIIBdTCCARugAwIBAgIUU4yIULfqR/yY92ejtva7b+jDpNgwCgYIKoZIzj0EAwIw
        DzENMAsGA1UEAwwEdGVzdDAgFw0yNjExMjcxNDM3MzNaGA8yMTI2MTEwMzE0Mzcz
        M1owDzENMAsGA1UEAwwEdGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABJ2i
        GcuR2V6K8lBZ8i6hmcoOT0fLV0SE3k9GN+hwZv/jK3FqyhmfHgLyunKVQsoWiZi7
        NDuG3e5komge8BUY9XyjUzBRMB0GA1UdDgQWBBSJODmdLVLbUu6vXuZGNwrJvNw3
        3jAfBgNVHSMEGDAWgBSJODmdLVLbUu6vXuZGNwrJvNw33jAPBgNVHRMBAf8EBTAD
        AQH/MAoGCCqGSM49BAMCA0gAMEUCIAQNfwdna180DvbV8Re3P5ZVNQnUGCfHuoaN
        1anIY2+MAiEA3939PBKbhLSi2T6/V1vJPAPWZ/YTdvndir9js+UAi2U=
        -----END CERTIFICATE-----
        """
    static let key = """
        -----BEGIN PRIVATE KEY-----
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg1X1AVYu2AtaXhw6J
        f/g41RBkRAD0F4hMTnrXE2bXGu6hRANCAASdohnLkdleivJQWfIuoZnKDk9Hy1dE
        hN5PRjfocGb/4ytxasoZnx4C8rpylULKFomYuzQ7ht3uZKJoHvAVGPV8
        -----END PRIVATE KEY-----
        """
    static let otherKey = """
        -----BEGIN PRIVATE KEY-----
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgx35F1Doc2CmocRs9
        x1x05Kb3onXYaZ+cJqvmO04Pv2ShRANCAAQE7joerMM1Vmu+QdTNf2vHTECgciUU
        2sO7EX6NbQttLYmAjCJbof61iP49qbbId07rgpOsyemwR1Uay/BW4sUA
        -----END PRIVATE KEY-----
        """
    static let encryptedKey = """
        -----BEGIN ENCRYPTED PRIVATE KEY-----
        MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAhTuokMZ8yr0gICCAAw
        DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEKsldERXppfXjE7y60gDusAEgZBM
        HgGl6zZowSH8hvEKIl6H+cm22WrKVhJoHhq51idg7+dF61iWCLQpo3mvwpqjDmFT
        Y7vItrjEHTXapyGDNk+jINI9RXMCFuE0uhyg4hwgVEIOa8cuYZO2U1edXufwBrAU
        jRRw0opnUUJ/Z6Gz5Aqz8f9IPrgShVxoZsM9+2ZmC5yM9GyoGXongrxu54phr1A=
        -----END ENCRYPTED PRIVATE KEY-----
        """
    static let traditionalEncryptedKey = """
        -----BEGIN EC PRIVATE KEY-----
        Proc-Type: 4,ENCRYPTED
        DEK-Info: AES-256-CBC,A3563417CC7685A89AC1909AEB372491

        PgJIZKcyhBuaKmzcV4xJYtAbHL9sGOs1eaXlwVpBWQ4ubLBI12daPwXshDvy8rn3
        lvZUQFJM5wvMNx5DAhhr9uCrlrO4IGZGqmfWsFkqi9GXK24wvezN4BkOuUHqqtfn
        +iX9QxL1PbCl15ztbvETaA+gGQLSQzNsl/i/JLLsbN8=
        -----END EC PRIVATE KEY-----
        """

    struct Case: Sendable, CustomTestStringConvertible {
        var name: String
        var certificate: String
        var key: String?
        var file: ClientKey.File?
        var problem: ClientKey.Problem?

        var testDescription: String { name }
    }

    @Test(arguments: [
        Case(name: "two files", certificate: certificate, key: key),
        Case(name: "one file", certificate: certificate + "\n" + key),
        Case(name: "encrypted", certificate: certificate, key: encryptedKey, file: .key, problem: .encrypted),
        Case(
            name: "encrypted as of old", certificate: certificate, key: traditionalEncryptedKey, file: .key,
            problem: .encrypted),
        Case(
            name: "encrypted in one file", certificate: encryptedKey + "\n" + certificate, file: .certificate,
            problem: .encrypted),
        Case(name: "of another", certificate: certificate, key: otherKey, file: .key, problem: .mismatch),
        Case(name: "no key", certificate: certificate, file: .certificate, problem: .noKey),
        Case(name: "no certificate", certificate: key, key: key, file: .certificate, problem: .noCertificate),
        Case(name: "nothing", certificate: "", key: "", file: .certificate, problem: .noCertificate),
    ])
    func isLookedAtWithoutAsking(_ sample: Case) {
        let found = ClientKey.problem(
            certificate: Data(sample.certificate.utf8), key: sample.key.map { Data($0.utf8) })
        #expect(found?.problem == sample.problem)
        #expect(found?.file == sample.file)
    }
}
