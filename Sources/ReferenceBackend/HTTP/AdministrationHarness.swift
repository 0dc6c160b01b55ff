import AgentModel
import Hummingbird

/// The administration API over HTTP: `/admin/api` and what is under it.
struct AdministrationHarness: Sendable {
    let service: BackendService

    func addRoutes(to router: Router<BackendRequestContext>) {
        let group = router.group("/admin/api").add(middleware: AdministrationTokenMiddleware(service: service))
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
            try JSONReply.make(
                try await service.updateAgent(try context.pathParameter("id"), try await agentChange(in: request)))
        }
        group.delete("/agents/{id}") { _, context in
            try await service.deleteAgent(try context.pathParameter("id"))
            return Response(status: .noContent)
        }
        group.delete("/agents/{id}/tokens") { _, context in
            try await service.revokeTokens(ofAgent: try context.pathParameter("id"))
            return Response(status: .noContent)
        }
        group.put("/agents/{id}/plugins/{plugin}") { _, context in
            try JSONReply.make(
                try await service.assign(
                    try context.pathParameter("plugin"), to: try context.pathParameter("id")))
        }
        group.delete("/agents/{id}/plugins/{plugin}") { _, context in
            try JSONReply.make(
                try await service.unassign(
                    try context.pathParameter("plugin"), from: try context.pathParameter("id")))
        }
    }

    private func addPluginRoutes(to group: RouterGroup<BackendRequestContext>) {
        group.get("/plugins") { request, _ in
            try JSONReply.make(try await service.plugins(try request.page()))
        }
        group.get("/plugins/{id}") { _, context in
            try JSONReply.make(try await service.plugin(try context.pathParameter("id")))
        }
        group.post("/plugins") { request, _ in
            try JSONReply.make(try await service.publish(try await newPlugin(in: request)), status: .created)
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
        group.post("/tasks") { request, _ in
            try JSONReply.make(try await service.createTask(try await newTask(in: request)), status: .created)
        }
        group.patch("/tasks/{id}") { request, context in
            try JSONReply.make(
                try await service.updateTask(try context.pathParameter("id"), try await taskChange(in: request)))
        }
        group.delete("/tasks/{id}") { _, context in
            try await service.deleteTask(try context.pathParameter("id"))
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
    }

    private func addDeviceRoutes(to group: RouterGroup<BackendRequestContext>) {
        group.get("/devices") { request, _ in
            try JSONReply.make(try await service.deviceLogins(try request.page()))
        }
        group.post("/devices/{code}/approve") { request, context in
            let choice = try await agentChoice(in: request)
            return try JSONReply.make(
                try await service.approveLogin(try context.pathParameter("code"), as: choice))
        }
        group.post("/devices/{code}/deny") { _, context in
            try JSONReply.make(try await service.denyLogin(try context.pathParameter("code")))
        }
    }
}
