import AgentModel
import Diagnostics
import Hummingbird
import ServiceLifecycle

/// The administration API over HTTP: `/admin/api` and what is under it.
struct AdministrationRoutes: Sendable {
    let service: BackendService
    let budget: BodyBudget

    func addRoutes(to router: Router<BackendRequestContext>) {
        let group = router.group("/admin/api").add(middleware: AdministrationTokenMiddleware(service: service))
            .add(middleware: BodyBudgetMiddleware(budget: budget, limit: Self.bodyLimit))
        addAgentRoutes(to: group)
        addPluginRoutes(to: group)
        addTaskRoutes(to: group)
        addRunRoutes(to: group)
        addDeviceRoutes(to: group)
    }

    private func addAgentRoutes(to group: RouterGroup<BackendRequestContext>) {
        group.get("/agents") { request, _ in
            try JSONReply.make(try await service.agents(try request.page()))
        }
        group.get("/agents/{id}") { _, context in
            try JSONReply.make(try await service.agent(try context.pathParameter("id")))
        }
        group.patch("/agents/{id}") { request, context in
            let agent = try await service.updateAgent(
                try context.pathParameter("id"), try await agentChange(in: request))
            context.audit(
                "changed the agent \(quoted(agent.id)): name \(shown(agent.name)), team \(shown(agent.teamID))", request
            )
            return try JSONReply.make(agent)
        }
        group.delete("/agents/{id}") { request, context in
            let id = try context.pathParameter("id")
            try await service.deleteAgent(id)
            context.audit("deleted the agent \(quoted(id))", request)
            return Response(status: .noContent)
        }
        group.delete("/agents/{id}/tokens") { request, context in
            let id = try context.pathParameter("id")
            try await service.revokeTokens(ofAgent: id)
            context.audit("ended the logins of the agent \(quoted(id))", request)
            return Response(status: .noContent)
        }
        group.put("/agents/{id}/plugins/{plugin}") { request, context in
            let plugin = try context.pathParameter("plugin")
            let agent = try await service.assign(plugin, to: try context.pathParameter("id"))
            context.audit("assigned the plugin \(quoted(plugin)) to the agent \(quoted(agent.id))", request)
            return try JSONReply.make(agent)
        }
        group.delete("/agents/{id}/plugins/{plugin}") { request, context in
            let plugin = try context.pathParameter("plugin")
            let agent = try await service.unassign(plugin, from: try context.pathParameter("id"))
            context.audit("took the plugin \(quoted(plugin)) from the agent \(quoted(agent.id))", request)
            return try JSONReply.make(agent)
        }
    }

    private func addPluginRoutes(to group: RouterGroup<BackendRequestContext>) {
        group.get("/plugins") { request, _ in
            try JSONReply.make(try await service.plugins(try request.page()))
        }
        group.get("/plugins/{id}") { _, context in
            try JSONReply.make(try await service.plugin(try context.pathParameter("id")))
        }
        group.post("/plugins") { request, context in
            let plugin = try await service.publish(try await newPlugin(in: request))
            let document = plugin.document
            context.audit(
                "published the plugin \(quoted(document.id)): \(quoted(document.name)), version "
                    + "\(shown(document.version?.description)), hash \(document.hash.prefix(16))…", request)
            return try JSONReply.make(plugin, status: .created)
        }
        group.delete("/plugins/{id}") { request, context in
            let id = try context.pathParameter("id")
            try await service.deletePlugin(id)
            context.audit("deleted the plugin \(quoted(id))", request)
            return Response(status: .noContent)
        }
    }

    private func addTaskRoutes(to group: RouterGroup<BackendRequestContext>) {
        group.get("/tasks") { request, _ in
            let page = try request.page(filters: ["agent"])
            return try JSONReply.make(try await service.tasks(agentID: request.query("agent"), page))
        }
        group.get("/tasks/{id}") { _, context in
            try JSONReply.make(try await service.task(try context.pathParameter("id")))
        }
        group.get("/tasks/{id}/run") { request, context in
            let (offsets, state, limit) = try followRequest(in: request)
            let id = try context.pathParameter("id")
            return try JSONReply.make(
                try await withGracefulShutdownHandler {
                    try await service.followTask(id, beyond: offsets, since: state, atMost: limit)
                } onGracefulShutdown: {
                    service.live.stop()
                })
        }
        group.get("/tasks/{id}/stack") { request, context in
            let id = try context.pathParameter("id")
            return try await stackReply(to: request) { try await service.stack(ofTask: id, atMost: $0) }
        }
        group.post("/tasks/{id}/cancel") { request, context in
            let id = try context.pathParameter("id")
            let (by, reason) = try await cancelRequest(in: request)
            try await service.cancelTask(id, by: by, reason: reason)
            context.audit("cancelled the task \(quoted(id)): by \(shown(by)), reason \(shown(reason))", request)
            return Response(status: .accepted)
        }
        group.post("/tasks") { request, context in
            let (new, isWatched) = try await newTask(in: request)
            let task = try await service.createTask(new, isWatched: isWatched)
            context.audit("created the task \(shown(task))", request)
            return try JSONReply.make(task, status: .created)
        }
        group.patch("/tasks/{id}") { request, context in
            let task = try await service.updateTask(
                try context.pathParameter("id"), try await taskChange(in: request))
            context.audit("changed the task \(shown(task))", request)
            return try JSONReply.make(task)
        }
        group.delete("/tasks/{id}") { request, context in
            let id = try context.pathParameter("id")
            try await service.deleteTask(id)
            context.audit("deleted the task \(quoted(id))", request)
            return Response(status: .noContent)
        }
    }

    private func addRunRoutes(to group: RouterGroup<BackendRequestContext>) {
        group.get("/runs") { request, _ in
            let page = try request.page(filters: ["agent", "task", "status", "run_id"])
            return try JSONReply.make(try await service.runs(try runFilter(in: request), page))
        }
        group.get("/runs/{id}") { _, context in
            try JSONReply.make(try await service.run(try context.pathParameter("id")))
        }
        group.get("/running") { request, _ in
            try RequestFields.refuseUnknown(request.uri.queryParameters.map { String($0.key) }, known: ["agent"])
            return try JSONReply.make(try await service.runsInProgress(ofAgent: request.query("agent")))
        }
        group.get("/running/{id}/stack") { request, context in
            let id = try context.pathParameter("id")
            return try await stackReply(to: request) { try await service.stack(ofRun: id, atMost: $0) }
        }
        group.post("/running/{id}/cancel") { request, context in
            let id = try context.pathParameter("id")
            let (by, reason) = try await cancelRequest(in: request)
            try await service.cancelRun(id, by: by, reason: reason)
            context.audit("cancelled the run \(quoted(id)): by \(shown(by)), reason \(shown(reason))", request)
            return Response(status: .accepted)
        }
        group.delete("/runs/{id}") { request, context in
            let id = try context.pathParameter("id")
            try await service.deleteRun(id)
            context.audit("deleted the run \(quoted(id))", request)
            return Response(status: .noContent)
        }
        group.delete("/runs") { request, context in
            let (filter, time) = try runDeletion(in: request)
            let count = try await service.deleteRuns(filter, receivedBefore: time)
            context.audit("deleted \(count) runs by \(quoted(request.uri.query ?? "", limit: 300))", request)
            return try JSONReply.make(["deleted": count])
        }
    }

    private func stackReply(
        to request: Request, _ ask: (Duration) async throws -> RunStack
    ) async throws -> Response {
        let limit = try stackRequest(in: request)
        return try JSONReply.make(
            try await withGracefulShutdownHandler {
                try await ask(limit)
            } onGracefulShutdown: {
                service.stacks.stop()
            })
    }

    private func addDeviceRoutes(to group: RouterGroup<BackendRequestContext>) {
        group.get("/devices") { request, _ in
            try JSONReply.make(try await service.deviceLogins(try request.page()))
        }
        group.post("/devices/{code}/approve") { request, context in
            let choice = try await agentChoice(in: request)
            let code = try context.pathParameter("code")
            let agent = try await service.approveLogin(code, as: choice)
            context.audit("approved the code \(quoted(code)) as the agent \(quoted(agent.id))", request)
            return try JSONReply.make(agent)
        }
        group.post("/devices/{code}/deny") { request, context in
            let login = try await service.denyLogin(try context.pathParameter("code"))
            context.audit("denied the code \(login.userCode)", request)
            return try JSONReply.make(login)
        }
    }

    private func shown(_ text: String?) -> String { text.map { quoted($0) } ?? "none" }

    private func shown(_ task: RegisteredTask) -> String {
        let schedule = task.document.cron.map { "on the schedule \(quoted($0))" } ?? "once"
        return "\(quoted(task.document.id)) of the agent \(quoted(task.agentID)): \(quoted(task.document.command)) "
            + schedule + (task.isEnabled ? "" : ", disabled")
    }
}
