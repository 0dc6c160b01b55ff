class Plugin:
    def __init__(self):
        pass
    def greet(self):
        print("Hello from the Test Plugin!")
    def square(self, number):
        result = number ** 2
        print(f"The square of {number} is {result}")